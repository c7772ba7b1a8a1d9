//! Requests that a hostile guest makes to get at what it must not: addresses in every spelling,
//! rebinding names, redirects, the node itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::support::{Function, ScriptedResolver, Server, full, text};
use ::http::{Response, StatusCode};
use egress::{Denial, EgressConfig, EgressError, Listener};

fn denial<T: std::fmt::Debug>(result: Result<T, EgressError>) -> Denial {
    match result {
        Err(EgressError::Denied { denial, .. }) => denial,
        other => panic!("not denied: {other:?}"),
    }
}

/// A server that counts its requests.
async fn secret_server() -> (Server, Arc<AtomicU64>) {
    let hits = Arc::<AtomicU64>::default();
    let server = Server::start({
        let hits = hits.clone();
        move |_| {
            hits.fetch_add(1, Ordering::SeqCst);
            async { Response::new(full("secret")) }
        }
    })
    .await;
    (server, hits)
}

#[tokio::test]
async fn loopback_is_out_of_reach_in_every_spelling() {
    let (server, hits) = secret_server().await;
    let port = server.address.port();
    let resolver = ScriptedResolver::default()
        .answer("localhost", &["127.0.0.1"])
        .answer("mapped.example", &["::ffff:127.0.0.1"])
        .answer("nat64.example", &["64:ff9b::127.0.0.1"])
        .answer("zero.example", &["0.0.0.0"])
        .answer("mixed.example", &["1.1.1.1", "127.0.0.1"]);
    // Every host at this port, but no private address.
    let rule = format!("*:{port}");
    let function = Function::with(EgressConfig::default(), resolver, &[&rule]);
    let hosts = [
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "017700000001",
        "127.0.0.1.",
        "127.000.000.001",
        "0",
        "0.0.0.0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[0:0:0:0:0:0:0:1]",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "mapped.example",
        "nat64.example",
        "zero.example",
        "mixed.example",
        "127.0.0.2",
        "127.255.255.254",
    ];
    for host in hosts {
        let result = function.get(&format!("http://{host}:{port}/")).await;
        denial(result);
    }
    assert_eq!(hits.load(Ordering::SeqCst), 0);
    assert_eq!(function.client.counts().denied, hosts.len() as u64);
    assert_eq!(function.client.counts().connections_open, 0);
}

#[tokio::test]
async fn other_private_networks_are_out_of_reach() {
    let function = Function::new(&["*"]);
    for host in [
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.1.1",
        "198.18.0.1",
        "192.0.2.1",
        "240.0.0.1",
        "[fd00::1]",
        "[fe80::1]",
        "[fec0::1]",
        "[100::1]",
    ] {
        let denial = denial(function.get(&format!("http://{host}/")).await);
        assert!(
            matches!(denial, Denial::Address { .. }),
            "{host}: {denial:?}"
        );
    }
    for host in [
        "169.254.169.254",
        "[::ffff:169.254.169.254]",
        "168.63.129.16",
        "[fd00:ec2::254]",
    ] {
        let denial = denial(function.get(&format!("http://{host}/")).await);
        assert!(
            matches!(denial, Denial::Metadata { .. }),
            "{host}: {denial:?}"
        );
    }
    for host in ["224.0.0.1", "255.255.255.255", "[ff02::1]", "0.0.0.0"] {
        let denial = denial(function.get(&format!("http://{host}/")).await);
        assert!(
            matches!(denial, Denial::NeverGranted { .. }),
            "{host}: {denial:?}"
        );
    }
}

#[tokio::test]
async fn without_a_rule_nothing_is_even_looked_up() {
    let resolver = ScriptedResolver::default().answer("example.com", &["1.1.1.1"]);
    let function = Function::with(
        EgressConfig::default(),
        resolver.clone(),
        &["other.example"],
    );
    assert_eq!(
        denial(function.get("http://example.com/").await),
        Denial::NoRule
    );
    assert_eq!(resolver.asked(), Vec::<String>::new());
}

#[tokio::test]
async fn a_name_that_rebinds_is_resolved_once_and_pinned() {
    let (server, hits) = secret_server().await;
    let port = server.address.port();
    // First a harmless answer, then loopback: a second lookup between check and connect would hit the
    // server. The first address refuses connections, so that success can only come from a second one.
    let resolver = ScriptedResolver::default()
        .answer("rebind.example", &["127.0.0.77"])
        .answer("rebind.example", &["127.0.0.1"]);
    let rule = format!("private:rebind.example:{port}");
    let function = Function::with(EgressConfig::default(), resolver.clone(), &[&rule]);
    let url = format!("http://rebind.example:{port}/");
    let result = function.get(&url).await;
    assert!(
        matches!(result, Err(EgressError::ConnectFailed { .. })),
        "{result:?}"
    );
    assert_eq!(resolver.asked(), ["rebind.example"]);
    assert_eq!(hits.load(Ordering::SeqCst), 0);

    // The same name without `private:`: each request is judged by its own answer.
    let resolver = ScriptedResolver::default()
        .answer("rebind.example", &["127.0.0.1"])
        .answer("rebind.example", &["10.0.0.1"]);
    let rule = format!("rebind.example:{port}");
    let function = Function::with(EgressConfig::default(), resolver, &[&rule]);
    for _ in 0..2 {
        assert!(matches!(
            denial(function.get(&url).await),
            Denial::Address { .. }
        ));
    }
    assert_eq!(hits.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_redirect_is_handed_to_the_guest() {
    let (secret, hits) = secret_server().await;
    let location = secret.url("/");
    let server = Server::start({
        let location = location.clone();
        move |_| {
            let response = Response::builder()
                .status(302)
                .header("location", &location);
            let response = response.body(full("moved")).unwrap();
            async { response }
        }
    })
    .await;
    let function = Function::new(&[&server.rule()]);
    let response = function.get(&server.url("/")).await.unwrap();
    assert_eq!(response.status(), StatusCode::FOUND);
    assert_eq!(response.headers()["location"], location.as_str());
    assert_eq!(text(response).await, "moved");
    // Following it is a request of its own, which no rule covers.
    assert_eq!(denial(function.get(&location).await), Denial::NoRule);
    assert_eq!(hits.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn the_nodes_own_listeners_are_guarded() {
    let (admin, admin_hits) = secret_server().await;
    let (gateway, gateway_hits) = secret_server().await;
    let ports = [admin.address.port(), gateway.address.port()];
    let private = ports.map(|port| format!("private:*:{port}"));
    let function = Function::new(&[&private[0], &private[1]]);
    function.own.add(Listener::Admin, admin.address);
    function.own.add(Listener::Gateway, gateway.address);
    assert_eq!(
        denial(function.get(&admin.url("/")).await),
        Denial::OwnAdmin
    );
    assert_eq!(admin_hits.load(Ordering::SeqCst), 0);
    function.get(&gateway.url("/")).await.unwrap();
    assert_eq!(gateway_hits.load(Ordering::SeqCst), 1);

    let plain = ports.map(|port| format!("*:{port}"));
    let function = Function::new(&[&plain[0], &plain[1]]);
    function.own.add(Listener::Gateway, gateway.address);
    assert_eq!(
        denial(function.get(&gateway.url("/")).await),
        Denial::OwnGateway
    );
}

#[tokio::test]
async fn a_request_goes_straight_to_its_server() {
    let (server, hits) = secret_server().await;
    let function = Function::new(&[&server.rule()]);
    let response = function.get(&server.url("/")).await.unwrap();
    assert_eq!(text(response).await, "secret");
    assert_eq!(hits.load(Ordering::SeqCst), 1);
}

#[test]
fn proxy_variables_are_not_read() {
    // The test above once more, in a process whose environment names a proxy that refuses.
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "policy::a_request_goes_straight_to_its_server"]);
    for name in [
        "http_proxy",
        "HTTP_PROXY",
        "https_proxy",
        "HTTPS_PROXY",
        "all_proxy",
        "ALL_PROXY",
    ] {
        child.env(name, "http://127.0.0.1:1");
    }
    child.env_remove("no_proxy").env_remove("NO_PROXY");
    let output = child.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
}

#[tokio::test]
async fn the_message_names_the_target_but_no_password() {
    let function = Function::new(&[]);
    let error = function
        .get("http://me:hunter2@example.com/")
        .await
        .unwrap_err();
    assert!(matches!(
        &error,
        EgressError::Denied {
            denial: Denial::UserInfo,
            ..
        }
    ));
    let text = error.to_string();
    assert!(
        text.contains("example.com") && !text.contains("hunter2"),
        "{text}"
    );
}
