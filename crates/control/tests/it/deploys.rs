//! Publishing, moving `live`, removing (A24, A52 concurrency, A53, A81 names).

use std::sync::atomic::{AtomicU64, Ordering};

use api::{Change, ListQuery, VersionRef};
use model::{ArtifactKind, Code, Digest, Isolation};

use crate::support::{Node, Options, code, key, problem};

#[tokio::test]
async fn a_version_is_published_once_and_live_moves() {
    let node = Node::start().await;
    let first = node.deploy("greet", "write one").await;
    assert_eq!(
        (first.version, first.is_new, first.live),
        (Some(1), true, Some(1))
    );
    assert_eq!((first.previous_live, first.changes.len()), (None, 0));
    assert_eq!(first.isolation, Isolation::Wasm);
    assert_eq!(
        first.urls,
        [
            "http://127.0.0.1:8080/function/greet/",
            "http://greet.localhost:8080/"
        ]
    );
    assert_eq!(node.call("greet").await, "one");

    let second = node.deploy("greet", "write two!").await;
    assert_eq!(
        (second.version, second.live, second.previous_live),
        (Some(2), Some(2), Some(1))
    );
    let short = |script: &str| Digest::of(script.as_bytes()).short();
    assert_eq!(
        second.changes,
        [Change {
            field: "artifact".to_owned(),
            from: Some(format!("{} (9 bytes)", short("write one"))),
            to: Some(format!("{} (10 bytes)", short("write two!"))),
        }]
    );
    assert_eq!(node.call("greet").await, "two!");

    let again = node.deploy("greet", "write two!").await;
    assert_eq!((again.version, again.is_new), (Some(2), false));
    assert_eq!(
        (again.live, again.previous_live, again.changes.len()),
        (Some(2), Some(2), 0)
    );
    let back = node.deploy("greet", "write one").await;
    assert_eq!(
        (back.version, back.is_new, back.live),
        (Some(1), false, Some(1))
    );
    assert_eq!(node.call("greet").await, "one");
}

#[tokio::test]
async fn a_dry_run_says_what_would_change_and_changes_nothing() {
    let node = Node::start().await;
    let mut request = node.request("write one", "").await;
    request.dry_run = true;
    let plan = node
        .client
        .publish(&key("greet"), &request)
        .await
        .expect("planned");
    assert_eq!(
        (plan.version, plan.is_new, plan.dry_run, plan.live),
        (None, true, true, None)
    );
    assert_eq!(
        code(node.client.describe(&key("greet")).await),
        Code::FunctionNotFound
    );

    request.dry_run = false;
    node.client
        .publish(&key("greet"), &request)
        .await
        .expect("published");
    request.env.insert("SECRET".to_owned(), "canary".to_owned());
    request.dry_run = true;
    let plan = node
        .client
        .publish(&key("greet"), &request)
        .await
        .expect("planned");
    assert_eq!((plan.version, plan.previous_live), (None, Some(1)));
    assert_eq!(plan.changes.len(), 1);
    assert_eq!(plan.changes[0].field, "env.SECRET");
    assert!(!format!("{plan:?}").contains("canary"));
    assert_eq!(
        node.client
            .versions(&key("greet"))
            .await
            .expect("listed")
            .versions
            .len(),
        1
    );
}

#[tokio::test]
async fn without_promotion_live_stays_and_rollback_takes_number_or_digest() {
    let node = Node::start().await;
    node.deploy("f", "write one").await;
    let mut request = node.request("write two", "").await;
    request.promote = false;
    let second = node
        .client
        .publish(&key("f"), &request)
        .await
        .expect("published");
    assert_eq!((second.version, second.live), (Some(2), Some(1)));
    assert_eq!(node.call("f").await, "one");

    let moved = node
        .client
        .set_live(&key("f"), VersionRef::from(2))
        .await
        .expect("moved");
    assert_eq!((moved.from, moved.to), (Some(1), 2));
    assert_eq!(node.call("f").await, "two");
    let back = node
        .client
        .rollback(&key("f"), None)
        .await
        .expect("rolled back");
    assert_eq!((back.from, back.to), (Some(2), 1));
    assert_eq!(node.call("f").await, "one");
    let prefix: VersionRef = second.digest.to_string()[..8].parse().expect("a prefix");
    let there = node
        .client
        .rollback(&key("f"), Some(prefix))
        .await
        .expect("rolled back");
    assert_eq!((there.to, there.digest), (2, second.digest));
    assert_eq!(node.call("f").await, "two");

    assert_eq!(
        code(node.client.set_live(&key("f"), 9.into()).await),
        Code::VersionNotFound
    );
    assert_eq!(
        code(node.client.rollback(&key("nobody"), None).await),
        Code::FunctionNotFound
    );
    node.deploy("fresh", "write x").await;
    assert_eq!(
        code(node.client.rollback(&key("fresh"), None).await),
        Code::VersionNotFound
    );

    let listed = node
        .client
        .versions(&key("f"))
        .await
        .expect("listed")
        .versions;
    let shape: Vec<_> = listed
        .iter()
        .map(|version| (version.number, version.is_live))
        .collect();
    assert_eq!(shape, [(2, true), (1, false)]);
}

#[tokio::test]
async fn a_version_that_was_never_promoted_can_be_described_and_called_by_number() {
    let node = Node::start().await;
    let mut request = node.request("write hidden", "").await;
    request.promote = false;
    node.client
        .publish(&key("f"), &request)
        .await
        .expect("published");
    let detail = node.client.describe(&key("f")).await.expect("described");
    assert_eq!((detail.summary.live, detail.current.number), (None, 1));
    let query = api::InvokeQuery {
        version: Some(1.into()),
        ..Default::default()
    };
    let invocation = client::Invocation {
        query,
        ..Default::default()
    };
    let called = node
        .client
        .invoke(&key("f"), invocation)
        .await
        .expect("called");
    assert_eq!(called.bytes(100).await.expect("whole"), "hidden");
    let live = node
        .client
        .invoke(&key("f"), client::Invocation::default())
        .await;
    assert_eq!(code(live), Code::VersionNotFound);
}

#[tokio::test]
async fn removal_takes_all_versions_and_numbers_never_come_back() {
    let node = Node::start().await;
    node.deploy("f", "write one").await;
    node.deploy("f", "write two").await;
    let removed = node.client.remove(&key("f")).await.expect("removed");
    assert_eq!(removed.n_versions, 2);
    assert_eq!(
        code(node.client.remove(&key("f")).await),
        Code::FunctionNotFound
    );
    let called = node
        .client
        .invoke(&key("f"), client::Invocation::default())
        .await;
    assert_eq!(code(called), Code::FunctionNotFound);
    assert_eq!(node.deploy("f", "write one").await.version, Some(3));
}

#[tokio::test]
async fn no_warm_instance_answers_for_an_older_version() {
    let node = Node::start().await;
    let manifest = "reuse = 1000\n";
    for round in 0..20 {
        let script = format!("write round-{round}\n# {round}");
        node.try_deploy("f", &script, manifest)
            .await
            .expect("published");
        for _ in 0..3 {
            assert_eq!(node.call("f").await, format!("round-{round}"));
        }
    }
    node.client
        .rollback(&key("f"), None)
        .await
        .expect("rolled back");
    assert_eq!(node.call("f").await, "round-18");
    node.client.remove(&key("f")).await.expect("removed");
    node.try_deploy("f", "write new", manifest)
        .await
        .expect("published");
    assert_eq!(node.call("f").await, "new");
    // What serves no more lets go of its instances: only the new version's one is left.
    assert_eq!(node.sim.counts().n_alive.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn fifty_deploys_of_one_name_at_once_leave_one_whole_winner() {
    let node = Node::start().await;
    let deploys = (0..50).map(|n| {
        let node = &node;
        async move { node.try_deploy("f", &format!("write answer-{n}"), "").await }
    });
    let done = futures_util::future::join_all(deploys).await;
    let mut numbers: Vec<u64> = done
        .iter()
        .map(|deploy| {
            deploy
                .as_ref()
                .expect("published")
                .version
                .expect("a number")
        })
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=50).collect::<Vec<u64>>());
    let live = node
        .client
        .describe(&key("f"))
        .await
        .expect("described")
        .summary
        .live;
    let winner = done
        .iter()
        .position(|deploy| deploy.as_ref().expect("published").version == live)
        .expect("the live version is one of them");
    assert_eq!(node.call("f").await, format!("answer-{winner}"));
}

#[tokio::test]
async fn listing_is_paged_by_namespace_and_name() {
    let node = Node::start().await;
    for name in ["b", "a", "c", "a.team", "b.team"] {
        node.deploy(name, "write x").await;
    }
    let mut query = ListQuery {
        limit: Some(2),
        ..ListQuery::default()
    };
    let mut seen = Vec::new();
    loop {
        let page = node.client.list(&query).await.expect("listed");
        assert!(page.functions.len() <= 2);
        let keys = page.functions.iter();
        seen.extend(keys.map(|function| format!("{}/{}", function.namespace, function.name)));
        match page.next {
            Some(next) => query.after = Some(next),
            None => break,
        }
    }
    assert_eq!(
        seen,
        ["default/a", "default/b", "default/c", "team/a", "team/b"]
    );
    let team = "team".parse().expect("a namespace");
    assert_eq!(
        node.client
            .list_all(Some(&team))
            .await
            .expect("listed")
            .len(),
        2
    );
    for limit in [0, 1001] {
        let query = ListQuery {
            limit: Some(limit),
            ..ListQuery::default()
        };
        assert_eq!(code(node.client.list(&query).await), Code::InvalidArgument);
    }
    let query = ListQuery {
        after: Some("nonsense".to_owned()),
        ..ListQuery::default()
    };
    assert_eq!(code(node.client.list(&query).await), Code::InvalidArgument);
}

#[tokio::test]
async fn bad_deploys_are_refused_with_their_code_and_lose_nothing() {
    let node = Node::start().await;
    node.deploy("keep", "write kept").await;
    let good = node.request("write x", "").await;
    type Change = fn(&mut api::PublishRequest);
    let publish = |change: Change| {
        let mut request = good.clone();
        change(&mut request);
        let node = &node;
        async move { node.client.publish(&key("keep"), &request).await }
    };
    let cases: [(Change, Code); 7] = [
        (
            |r| r.manifest = Some("isolaton = 'wasm'".to_owned()),
            Code::ManifestInvalid,
        ),
        (
            |r| r.manifest = Some("isolation = 'gvisor'".to_owned()),
            Code::ClassUnavailable,
        ),
        (
            |r| r.manifest = Some("[limits]\nmemory = '512GiB'".to_owned()),
            Code::LimitAboveCeiling,
        ),
        (
            |r| r.artifact.digest = Digest::of(b"never uploaded"),
            Code::ArtifactUnknown,
        ),
        (|r| r.artifact.size_bytes += 1, Code::InvalidArgument),
        (
            |r| drop(r.env.insert("A=B".to_owned(), "x".to_owned())),
            Code::EnvInvalid,
        ),
        (
            |r| r.artifact.kind = ArtifactKind::Image,
            Code::ClassUnavailable,
        ),
    ];
    for (change, expected) in cases {
        assert_eq!(code(publish(change).await), expected);
    }
    assert_eq!(
        code(node.try_deploy("keep", "no instruction", "").await),
        Code::WasmInvalid
    );
    assert_eq!(node.call("keep").await, "kept");
    assert_eq!(
        node.client
            .versions(&key("keep"))
            .await
            .expect("listed")
            .versions
            .len(),
        1
    );
}

#[tokio::test]
async fn faults_of_a_manifest_have_file_line_and_field() {
    let node = Node::start().await;
    let mut request = node
        .request("write x", "\n[limits]\nmemroy = '1MiB'\ntimeout = 'soon'\n")
        .await;
    request.manifest_file = Some("dir/holm.toml".to_owned());
    let problem = problem(node.client.publish(&key("f"), &request).await);
    assert_eq!((problem.code, problem.status), (Code::ManifestInvalid, 400));
    let places: Vec<_> = problem
        .positions
        .iter()
        .map(|at| (at.file.as_str(), at.line, at.field.as_str()))
        .collect();
    assert_eq!(
        places,
        [
            ("dir/holm.toml", 3, "limits.memroy"),
            ("dir/holm.toml", 4, "limits.timeout")
        ]
    );
    assert!(
        problem.positions[0].message.contains("memory"),
        "the nearest known key is named"
    );
}

#[tokio::test]
async fn a_route_of_another_function_is_refused_by_name_also_in_a_dry_run() {
    let node = Node::start().await;
    let manifest = "[[routes]]\nhost = 'shop.example'\npath = '/cart/*'\n";
    let first = node
        .try_deploy("cart", "write cart", manifest)
        .await
        .expect("published");
    assert_eq!(first.urls[2], "http://shop.example:8080/cart/");
    for dry_run in [true, false] {
        let mut request = node.request("write other", manifest).await;
        request.dry_run = dry_run;
        let problem = problem(node.client.publish(&key("other"), &request).await);
        assert_eq!(problem.code, Code::RouteConflict);
        assert!(problem.detail.contains("cart"), "{}", problem.detail);
    }
    assert_eq!(
        code(node.client.describe(&key("other")).await),
        Code::FunctionNotFound
    );
}

#[tokio::test]
async fn a_production_node_refuses_weak_engines_and_others_warn() {
    let node = Node::start().await;
    let warned = node.deploy("f", "write x").await;
    assert!(warned.warnings[0].contains("sim"), "{:?}", warned.warnings);
    let node = Node::start_with(Options {
        is_production: true,
        ..Options::default()
    })
    .await;
    assert_eq!(
        code(node.try_deploy("f", "write x", "").await),
        Code::EngineRefused
    );
}

#[tokio::test]
async fn values_of_the_environment_are_in_no_answer() {
    let node = Node::start().await;
    let mut request = node
        .request("env SECRET", "env = { SECRET = 'from-manifest' }")
        .await;
    request.env.insert("SECRET".to_owned(), "canary".to_owned());
    let published = node
        .client
        .publish(&key("f"), &request)
        .await
        .expect("published");
    let described = node.client.describe(&key("f")).await.expect("described");
    let versions = node.client.versions(&key("f")).await.expect("listed");
    let list = node
        .client
        .list(&ListQuery::default())
        .await
        .expect("listed");
    let metrics = node.client.metrics().await.expect("metrics");
    assert_eq!(described.current.env_names, ["SECRET"]);
    let all = format!("{published:?}{described:?}{versions:?}{list:?}{metrics}");
    assert!(!all.contains("canary") && !all.contains("from-manifest"));
    assert_eq!(
        node.call("f").await,
        "canary",
        "the request goes before the manifest"
    );
}

#[tokio::test]
async fn hostile_names_are_refused_in_every_field() {
    let node = Node::start().await;
    let request = node.request("write x", "").await;
    let body = serde_json::to_vec(&request).expect("serialises");
    for name in [
        "%3Cscript%3E",
        "a'%20or%201=1",
        "a%0d%0ab",
        "%1b%5b31m",
        "=cmd",
        "a%00b",
        "a_b",
    ] {
        let path = format!("/v1/namespaces/default/functions/{name}/versions");
        let request = http::Request::post(path).header("content-type", "application/json");
        let request = request.body(body.clone().into()).expect("a request");
        let response = node.send(request).await;
        assert_eq!(response.headers()[api::header::ERROR], "H4009", "{name}");
        let text = std::str::from_utf8(response.body()).expect("text");
        assert!(!text.contains(['\u{1b}', '\r', '\0']), "{text:?}");
    }
    assert_eq!(node.catalog.snapshot().n_functions(), 0);
}

#[tokio::test]
async fn a_hundred_redeploys_under_load_fail_nobody_and_show_nothing_old() {
    const N_DEPLOYS: u64 = 100;
    const N_CALLERS: usize = 4;
    let node = Node::start().await;
    let manifest = "reuse = 1000\n";
    let deployed = AtomicU64::new(0);
    node.try_deploy("f", "write 0", manifest)
        .await
        .expect("published");
    let deploy = async {
        for round in 1..=N_DEPLOYS {
            node.try_deploy("f", &format!("write {round}"), manifest)
                .await
                .expect("published");
            deployed.store(round, Ordering::Release);
        }
    };
    let callers = (0..N_CALLERS).map(|_| async {
        let mut n_calls = 0;
        loop {
            let begun_after = deployed.load(Ordering::Acquire);
            let answer: u64 = node.call("f").await.parse().expect("a number");
            assert!(
                answer >= begun_after,
                "{answer} after {begun_after} was live"
            );
            n_calls += 1;
            if begun_after == N_DEPLOYS {
                break n_calls;
            }
        }
    });
    let callers = futures_util::future::join_all(callers);
    let ((), n_calls): ((), Vec<u64>) = tokio::join!(deploy, callers);
    assert!(
        n_calls.iter().sum::<u64>() > N_DEPLOYS,
        "there was load: {n_calls:?}"
    );
}

#[tokio::test]
async fn what_runs_when_a_version_is_replaced_or_removed_finishes_on_it() {
    let node = Node::start().await;
    node.deploy("f", "write old-\nsleep 50\nwrite answer").await;
    let mut called = Vec::new();
    for replace in [true, false] {
        let mut call = node
            .client
            .invoke(&key("f"), Default::default())
            .await
            .expect("the head");
        assert_eq!(
            call.chunk().await.expect("a chunk").expect("not the end"),
            "old-"
        );
        if replace {
            node.deploy("f", "write new").await;
            assert_eq!(node.call("f").await, "new");
            node.client
                .rollback(&key("f"), None)
                .await
                .expect("rolled back");
        } else {
            node.client.remove(&key("f")).await.expect("removed");
        }
        called.push(call);
    }
    for call in called {
        assert_eq!(call.bytes(100).await.expect("whole"), "answer");
    }
}
