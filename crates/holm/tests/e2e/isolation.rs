//! Nothing passes from one function, version or request to another (catalogue rows A20 to A24, A33).

use testkit::guests::wat;

use crate::node;

#[test]
fn a_slot_is_clean_for_the_next_guest() {
    let node = node();
    node.deploy_wasm("dirty", &wat("dirty-write"), &[]);
    node.deploy_wasm("clean", &wat("dirty-read"), &[]);
    let mut client = node.client();
    for round in 0..200 {
        client.request("GET", "/function/dirty/", &[], b"");
        assert_eq!(
            client.answer().expect("an answer").text().trim(),
            "dirtied",
            "round {round}"
        );
        client.request("GET", "/function/clean/", &[], b"");
        assert_eq!(
            client.answer().expect("an answer").text().trim(),
            "clean",
            "round {round}"
        );
    }
}

#[test]
fn answers_are_never_crossed_under_concurrency() {
    let node = node();
    node.deploy_wasm("echo", &wat("echo"), &[]);
    node.deploy("echo-reused", &wat("echo"), "reuse = 1000\n");
    std::thread::scope(|scope| {
        for caller in 0..8 {
            let node = &node;
            scope.spawn(move || {
                let mut client = node.client();
                for round in 0..500 {
                    let name = if round % 2 == 0 {
                        "echo"
                    } else {
                        "echo-reused"
                    };
                    let body = format!("caller {caller} round {round}");
                    client.request("POST", &format!("/function/{name}/"), &[], body.as_bytes());
                    assert_eq!(client.answer().expect("an answer").text(), body);
                }
            });
        }
    });
}

#[test]
fn randomness_never_repeats() {
    let node = node();
    node.deploy_wasm("random", &wat("random"), &[]);
    let mut client = node.client();
    let mut seen = std::collections::HashSet::new();
    for _ in 0..1_000 {
        client.request("GET", "/function/random/", &[], b"");
        let answer = client.answer().expect("an answer");
        assert_eq!(answer.status, 200);
        assert!(seen.insert(answer.body), "a repeat");
    }
}

#[test]
fn guessed_names_and_namespaces_look_alike() {
    let node = node();
    node.deploy_wasm("secret", &wat("noop"), &["--namespace", "team"]);
    let names = [
        "secret",
        "secret.other",
        "nobody",
        "nobody.team",
        "SECRET.team",
        "secret.TEAM",
    ];
    for name in names {
        let answer = node.get(name, "/");
        assert_eq!(
            answer.code().as_deref(),
            Some("H1001"),
            "{name}: {}",
            answer.text()
        );
        assert!(!answer.text().contains("team,"), "{}", answer.text());
    }
    for name in [
        "secret.team/../../v1",
        "..",
        "%2e%2e",
        "secret%00.team",
        "secret.team%2f",
    ] {
        let answer = testkit::get(node.gateway, &format!("/function/{name}"));
        assert!(
            matches!(answer.status, 400 | 404),
            "{name}: {}",
            answer.status
        );
    }
}

#[test]
fn the_network_is_closed_unless_the_manifest_opens_it() {
    let node = node();
    let wasm = wat("fetch");
    let target = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = target.local_addr().expect("bound").port();
    let server = std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        let (mut stream, _) = target.accept().expect("one connection comes");
        let mut request = [0; 1024];
        let n_bytes = stream.read(&mut request).expect("a request");
        let answer = b"HTTP/1.1 203 Fine\r\ncontent-length: 5\r\n\r\nhello";
        stream.write_all(answer).expect("the node reads");
        String::from_utf8_lossy(&request[..n_bytes]).into_owned()
    });
    node.deploy("closed", &wasm, "");
    node.deploy("public", &wasm, "[egress]\nallow = [\"*\"]\n");
    let allow = format!("[egress]\nallow = [\"private:127.0.0.1:{port}\"]\n");
    node.deploy("opened", &wasm, &allow);
    let path = format!("/?url=http://127.0.0.1:{port}/there");
    for name in ["closed", "public"] {
        let denied = node.get(name, &path);
        assert_eq!((denied.status, denied.text().trim()), (502, "-6"), "{name}");
    }
    for spelling in [
        "localhost",
        "0x7f000001",
        "2130706433",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
    ] {
        let denied = node.get("public", &format!("/?url=http://{spelling}:{port}/"));
        assert_eq!(denied.status, 502, "{spelling}: {}", denied.text());
    }
    // The node's own admin API is out of reach, whatever a manifest grants.
    let admin = format!(
        "[egress]\nallow = [\"private:127.0.0.1:{}\"]\n",
        node.admin.port()
    );
    node.deploy("inward", &wasm, &admin);
    let denied = node.get("inward", &format!("/?url=http://{}/live", node.admin));
    assert_eq!((denied.status, denied.text().trim()), (502, "-6"));

    let answer = node.get("opened", &path);
    assert_eq!((answer.status, answer.text().as_str()), (203, "hello"));
    let request = server.join().expect("no panic").to_lowercase();
    assert!(request.starts_with("get /there http/1.1"), "{request}");
    assert!(
        request.contains("\r\ntraceparent: 00-"),
        "the trace goes on: {request}"
    );
}

#[test]
fn mutants_do_not_hurt_the_node() {
    // The node meets a sample of what the engine's own test goes through in full.
    let node = node();
    let wasm = wat("noop");
    node.deploy_wasm("noop", &wasm, &[]);
    for (position, step) in (8..wasm.len()).step_by(wasm.len() / 12).zip(1_u8..) {
        let mut mutant = wasm.clone();
        mutant[position] = mutant[position].wrapping_add(step);
        let output = node.try_deploy("mutant", &mutant, "");
        assert!(
            matches!(output.code, 0 | 1),
            "{position}: {}",
            output.stderr
        );
    }
    assert_eq!(node.get("noop", "/").text(), "ok");
}
