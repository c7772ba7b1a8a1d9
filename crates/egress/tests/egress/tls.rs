//! TLS against a real server with a self-made authority.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::support::{Function, ScriptedResolver, text};
use ::http::{Response, StatusCode};
use bytes::Bytes;
use egress::{EgressConfig, EgressError, SystemResolver};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

struct TlsServer {
    address: SocketAddr,
    ca_der: Vec<u8>,
    _tasks: JoinSet<()>,
}

/// A server whose certificate is for `names`, signed by an authority of its own.
async fn start(names: &[&str]) -> TlsServer {
    let mut ca_params = CertificateParams::new(Vec::new()).unwrap();
    ca_params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(ca_params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let certificate = CertificateParams::new(names)
        .unwrap()
        .signed_by(&key, &ca)
        .unwrap();

    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // Handshakes that the client breaks off are part of the tests.
            let Ok(stream) = acceptor.accept(stream).await else {
                continue;
            };
            let sni = stream
                .get_ref()
                .1
                .server_name()
                .unwrap_or("none")
                .to_owned();
            let service = service_fn(move |_| {
                let body = Full::new(Bytes::from(sni.clone()));
                async { Ok::<_, std::convert::Infallible>(Response::new(body)) }
            });
            let server = hyper::server::conn::http1::Builder::new();
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        }
    });
    TlsServer {
        address,
        ca_der: ca.der().to_vec(),
        _tasks: tasks,
    }
}

fn function(server: &TlsServer, is_trusted: bool) -> Function {
    let port = server.address.port();
    let resolver = ScriptedResolver::default()
        .answer("good.example", &["127.0.0.1"])
        .answer("other.example", &["127.0.0.1"]);
    let config = EgressConfig {
        trust_system_roots: false,
        extra_roots_der: is_trusted
            .then(|| server.ca_der.clone())
            .into_iter()
            .collect(),
        ..EgressConfig::default()
    };
    Function::with(config, resolver, &[&format!("private:*:{port}")])
}

#[tokio::test]
async fn a_trusted_server_is_reached_by_name_and_by_address() {
    let server = start(&["good.example", "127.0.0.1"]).await;
    let function = function(&server, true);
    let port = server.address.port();
    let response = function
        .get(&format!("https://good.example:{port}/"))
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(text(response).await, "good.example");
    let response = function
        .get(&format!("https://127.0.0.1:{port}/"))
        .await
        .unwrap();
    assert_eq!(text(response).await, "none");
}

#[tokio::test]
async fn a_wrong_name_or_an_unknown_authority_is_refused() {
    let server = start(&["good.example"]).await;
    let port = server.address.port();
    let wrong_name = function(&server, true)
        .get(&format!("https://other.example:{port}/"))
        .await;
    assert!(wrong_name.unwrap_err().is_certificate_error());
    let stranger = start(&["good.example"]).await;
    let port = stranger.address.port();
    let mut untrusting = function(&server, true);
    untrusting.rules = vec![format!("private:*:{port}").parse().unwrap()];
    let unknown = untrusting
        .get(&format!("https://good.example:{port}/"))
        .await;
    assert!(unknown.unwrap_err().is_certificate_error());
}

#[tokio::test]
async fn no_authorities_at_all_is_told_with_the_remedy() {
    let server = start(&["good.example"]).await;
    let port = server.address.port();
    let result = function(&server, false)
        .get(&format!("https://good.example:{port}/"))
        .await;
    match result {
        Err(EgressError::TlsFailed { source, .. }) => {
            assert!(source.to_string().contains("ca-certificates"), "{source}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn plain_http_behind_https_is_a_tls_error() {
    let server = crate::support::Server::raw(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    let config = EgressConfig {
        extra_roots_der: vec![start(&["x.example"]).await.ca_der],
        trust_system_roots: false,
        ..EgressConfig::default()
    };
    let function = Function::with(config, SystemResolver, &[&server.rule()]);
    let result = function.get(&format!("https://{}/", server.address)).await;
    assert!(
        matches!(result, Err(EgressError::TlsFailed { .. })),
        "{result:?}"
    );
}
