//! Real servers on port 0, and a resolver that says what a test tells it. Used by every test file here.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use egress::{
    EgressClient, EgressConfig, EgressError, LookupTicket, Outbound, OwnListeners, Resolver,
    ResponseBody, Timeouts,
};
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use model::FunctionKey;
use model::egress::EgressRule;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

pub type ServerBody = UnsyncBoxBody<Bytes, Infallible>;

/// A server that answers with `handler`; stops when dropped.
pub struct Server {
    pub address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Server {
    pub async fn start<H, F>(handler: H) -> Self
    where
        H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
        F: Future<Output = Response<ServerBody>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let handler = handler.clone();
                connections.spawn(async move {
                    let service = service_fn(move |request| {
                        let response = handler(request);
                        async move { Ok::<_, Infallible>(response.await) }
                    });
                    let io = TokioIo::new(stream);
                    let server = hyper::server::conn::http1::Builder::new();
                    // A client that hangs up is part of some tests.
                    let _ = server.serve_connection(io, service).await;
                });
            }
        });
        Self {
            address,
            _tasks: tasks,
        }
    }

    /// A server that writes `answer` to whoever connects, and reads nothing.
    pub async fn raw(answer: &'static [u8]) -> Self {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut open = Vec::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut first = [0_u8; 1_024];
                let _ = stream.read(&mut first).await;
                let _ = stream.write_all(answer).await;
                open.push(stream);
            }
        });
        Self {
            address,
            _tasks: tasks,
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The rule that allows exactly this server.
    pub fn rule(&self) -> String {
        format!("private:{}", self.address)
    }
}

/// Answers each lookup of a name with the next of its prepared answers; the last one stays.
#[derive(Clone, Default)]
pub struct ScriptedResolver {
    answers: Arc<Mutex<HashMap<String, VecDeque<Vec<IpAddr>>>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl ScriptedResolver {
    pub fn answer(self, name: &str, addresses: &[&str]) -> Self {
        let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        let mut answers = self.answers.lock().unwrap();
        answers
            .entry(name.to_owned())
            .or_default()
            .push_back(addresses);
        drop(answers);
        self
    }

    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Resolver for ScriptedResolver {
    fn resolve(
        &self,
        name: String,
        _ticket: LookupTicket,
    ) -> std::pin::Pin<Box<dyn Future<Output = std::io::Result<Vec<IpAddr>>> + Send>> {
        self.asked.lock().unwrap().push(name.clone());
        let mut answers = self.answers.lock().unwrap();
        let answer = match answers.get_mut(&name) {
            Some(queue) if queue.len() > 1 => queue.pop_front(),
            Some(queue) => queue.front().cloned(),
            None => None,
        };
        Box::pin(async move { answer.ok_or_else(|| std::io::Error::other("no such name")) })
    }
}

/// A client and the rules of one function.
pub struct Function {
    pub client: Arc<EgressClient>,
    pub own: Arc<OwnListeners>,
    pub key: FunctionKey,
    pub rules: Vec<EgressRule>,
    pub timeouts: Timeouts,
}

impl Function {
    pub fn new(rules: &[&str]) -> Self {
        Self::with(EgressConfig::default(), ScriptedResolver::default(), rules)
    }

    pub fn with(config: EgressConfig, resolver: impl Resolver, rules: &[&str]) -> Self {
        let own = Arc::<OwnListeners>::default();
        Self {
            client: EgressClient::new(config, resolver, own.clone()),
            own,
            key: "tester".parse().unwrap(),
            rules: rules.iter().map(|rule| rule.parse().unwrap()).collect(),
            timeouts: Timeouts::default(),
        }
    }

    pub async fn send<B>(&self, request: Request<B>) -> Result<Response<ResponseBody>, EgressError>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let outbound = Outbound {
            function: &self.key,
            rules: &self.rules,
            timeouts: self.timeouts,
        };
        self.client.send(outbound, request).await
    }

    pub async fn get(&self, url: &str) -> Result<Response<ResponseBody>, EgressError> {
        self.send(Request::get(url).body(Empty::<Bytes>::new()).unwrap())
            .await
    }
}

pub fn full(text: impl Into<Bytes>) -> ServerBody {
    Full::new(text.into()).boxed_unsync()
}

pub async fn text(response: Response<ResponseBody>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}
