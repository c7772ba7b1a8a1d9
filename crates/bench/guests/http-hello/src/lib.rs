//! Answers how many requests this instance has served, over `wasi:http` 0.2: a fresh instance says `1`.

use std::sync::atomic::{AtomicU64, Ordering};

use wasi::exports::http::incoming_handler::Guest;
use wasi::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

static N_SERVED: AtomicU64 = AtomicU64::new(0);

struct HttpHello;

wasi::http::proxy::export!(HttpHello);

impl Guest for HttpHello {
    fn handle(_request: IncomingRequest, response_out: ResponseOutparam) {
        let n_served = N_SERVED.fetch_add(1, Ordering::Relaxed) + 1;
        let response = OutgoingResponse::new(Fields::new());
        let body = response.body().expect("taken once");
        ResponseOutparam::set(response_out, Ok(response));
        let stream = body.write().expect("taken once");
        // An error means that the caller is gone: there is nobody to tell.
        let _ = stream.blocking_write_and_flush(n_served.to_string().as_bytes());
        drop(stream);
        let _ = OutgoingBody::finish(body, None);
    }
}
