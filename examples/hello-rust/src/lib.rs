//! A greeting as JSON: the smallest whole function on `wasi:http` 0.2. It reads the query and the
//! method and answers with a header and a body.

use std::io::Write as _;

use wasi::exports::http::incoming_handler::Guest;
use wasi::http::types::{
    Fields, IncomingRequest, Method, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

struct Hello;

wasi::http::proxy::export!(Hello);

impl Guest for Hello {
    fn handle(request: IncomingRequest, response_out: ResponseOutparam) {
        let target = request.path_with_query().unwrap_or_default();
        let name = query_value(&target, "name").unwrap_or_else(|| "world".to_owned());
        let answer = format!(
            "{{\"greeting\":{},\"method\":{}}}\n",
            json_string(&format!("Hello, {name}!")),
            json_string(&method_name(&request.method())),
        );

        let headers = Fields::new();
        headers
            .append("content-type", b"application/json")
            .expect("a fresh set of fields accepts a valid header");
        let response = OutgoingResponse::new(headers);
        let body = response.body().expect("taken once");
        ResponseOutparam::set(response_out, Ok(response));

        let mut stream = body.write().expect("taken once");
        // An error here means that the caller hung up: nobody is left to tell.
        let _ = stream.write_all(answer.as_bytes());
        drop(stream);
        let _ = OutgoingBody::finish(body, None);
    }
}

fn method_name(method: &Method) -> String {
    match method {
        Method::Get => "GET".to_owned(),
        Method::Head => "HEAD".to_owned(),
        Method::Post => "POST".to_owned(),
        Method::Put => "PUT".to_owned(),
        Method::Delete => "DELETE".to_owned(),
        Method::Connect => "CONNECT".to_owned(),
        Method::Options => "OPTIONS".to_owned(),
        Method::Trace => "TRACE".to_owned(),
        Method::Patch => "PATCH".to_owned(),
        Method::Other(name) => name.clone(),
    }
}

/// The first value of `key` in the query of `target`, decoded.
fn query_value(target: &str, key: &str) -> Option<String> {
    let (_, query) = target.split_once('?')?;
    query.split('&').find_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (name == key).then(|| percent_decode(value))
    })
}

/// Undoes `%XX` and `+`; what is no valid escape stays as it is.
fn percent_decode(text: &str) -> String {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let escape = (first == b'%').then(|| tail.get(..2)).flatten();
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let byte = escape.and_then(|pair| Some((digit(pair[0])? * 16 + digit(pair[1])?) as u8));
        match byte {
            Some(byte) => {
                decoded.push(byte);
                rest = &tail[2..];
            }
            None => {
                decoded.push(if first == b'+' { b' ' } else { first });
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// `text` as a JSON string, quotes included.
fn json_string(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            control if control < ' ' => quoted.push_str(&format!("\\u{:04x}", control as u32)),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}
