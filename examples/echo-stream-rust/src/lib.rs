//! Streams the request body to the response body over `wasi:http` 0.2. The host moves the bytes from
//! stream to stream in pieces of at most 64 KiB, so the function's memory stays the same for a body
//! of any length, and the first bytes go out before the last have come in.

use wasi::exports::http::incoming_handler::Guest;
use wasi::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};
use wasi::io::streams::StreamError;

const PIECE_BYTES_MAX: u64 = 64 * 1024;

struct EchoStream;

wasi::http::proxy::export!(EchoStream);

impl Guest for EchoStream {
    fn handle(request: IncomingRequest, response_out: ResponseOutparam) {
        let headers = Fields::new();
        // What came in is what goes out, so its type stays true, and its length, when it was told.
        for name in ["content-type", "content-length"] {
            for value in request.headers().get(name) {
                headers
                    .append(name, &value)
                    .expect("the host has accepted this header before");
            }
        }
        let request_body = request.consume().expect("taken once");
        let input = request_body.stream().expect("taken once");

        let response = OutgoingResponse::new(headers);
        let response_body = response.body().expect("taken once");
        ResponseOutparam::set(response_out, Ok(response));
        let output = response_body.write().expect("taken once");

        loop {
            match output.blocking_splice(&input, PIECE_BYTES_MAX) {
                Ok(_) => {}
                Err(StreamError::Closed) => break,
                // Not finishing the body tells the caller that the answer is incomplete.
                Err(StreamError::LastOperationFailed(_)) => return,
            }
        }
        drop(output);
        let _ = OutgoingBody::finish(response_body, None);
    }
}
