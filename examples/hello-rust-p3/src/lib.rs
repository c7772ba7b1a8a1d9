//! The asynchronous `wasi:http` 0.3: the handler is an `async fn`, bodies are streams of bytes. `GET`
//! answers a greeting; with any other method the request body is counted while it arrives and the
//! greeting says how long it was.

use wasip3::http::types::{ErrorCode, Fields, Method, Request, Response};
use wasip3::{wit_bindgen, wit_future, wit_stream};

const CHUNK_BYTES: usize = 16 * 1024;

struct Hello;

wasip3::http::service::export!(Hello);

impl wasip3::exports::http::handler::Guest for Hello {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let answer = match request.get_method() {
            Method::Get | Method::Head => {
                "{\"greeting\":\"Hello from wasi:http 0.3\"}\n".to_owned()
            }
            _ => {
                let body_bytes = body_bytes(request).await?;
                format!(
                    "{{\"greeting\":\"Hello from wasi:http 0.3\",\"body_bytes\":{body_bytes}}}\n"
                )
            }
        };
        let headers = Fields::new();
        headers
            .append("content-type", b"application/json")
            .expect("a fresh set of fields accepts a valid header");
        Ok(respond(headers, answer.into_bytes()))
    }
}

/// Reads the request body to its end; an upload that breaks off is the caller's error.
async fn body_bytes(request: Request) -> Result<usize, ErrorCode> {
    // The host learns through this future whether we could use the body; `Ok` unless told otherwise.
    let (_, understood) = wit_future::new(|| Ok(()));
    let (mut stream, trailers) = Request::consume_body(request, understood);
    let mut n_bytes = 0;
    loop {
        let (status, chunk) = stream.read(Vec::with_capacity(CHUNK_BYTES)).await;
        n_bytes += chunk.len();
        if matches!(status, wit_bindgen::StreamResult::Dropped) {
            break;
        }
    }
    // The stream ends in the same way for a whole body and a broken one; the trailers tell.
    trailers.await?;
    Ok(n_bytes)
}

/// A response whose body is written after the handler has returned it.
fn respond(headers: Fields, body: Vec<u8>) -> Response {
    let (mut body_writer, body_reader) = wit_stream::new();
    let (_, trailers) = wit_future::new(|| Ok(None));
    let (response, _sent) = Response::new(headers, Some(body_reader), trailers);
    wit_bindgen::spawn_local(async move {
        // Bytes left over mean that the caller hung up: nobody is left to tell.
        let _unsent = body_writer.write_all(body).await;
    });
    response
}
