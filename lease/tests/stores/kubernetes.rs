//! The suite on what the API server of Kubernetes does with leases, and exchanges as its reference
//! shows them.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringmesh_lease::{
    Answer, Clock, Credential, Deed, KubernetesSettings, KubernetesStore, LeaseName, Token,
};
use serde_json::{Value, json};

use crate::contract::{Node, Stage, contract, name};
use crate::server::{Exchange, Reply, Request, Served, Server, recorded};

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/demo/leases";

/// An API server as far as leases go: objects with versions, of which one is replaced only if the
/// version that was read is the latest.
#[derive(Default)]
struct Objects {
    leases: BTreeMap<String, Value>,
    version: u64,
}

impl Objects {
    fn answer(&mut self, request: &Request, now: Duration) -> Reply {
        let Some(rest) = request.path.strip_prefix(LEASES) else {
            return status(404, "the server could not find the requested resource");
        };
        let found = self.leases.get(rest.trim_start_matches('/')).cloned();
        let body = || serde_json::from_str(&request.body).expect("a body is JSON");
        match (request.method.as_str(), found) {
            ("GET", Some(object)) => (200, object.to_string()),
            ("GET" | "PUT", None) if !rest.is_empty() => status(404, "not found"),
            ("POST", None) if rest.is_empty() => self.create(body(), now),
            ("PUT", Some(object)) => self.replace(body(), &object),
            _ => status(
                405,
                "the server does not allow this method on the requested resource",
            ),
        }
    }

    fn create(&mut self, mut object: Value, now: Duration) -> Reply {
        let name = object["metadata"]["name"]
            .as_str()
            .expect("a name")
            .to_owned();
        if self.leases.contains_key(&name) {
            return status(409, "already exists");
        }
        let (minute, second) = (now.as_secs() / 60, now.as_secs() % 60);
        let made = format!(
            "2023-06-13T{:02}:{:02}:{second:02}Z",
            minute / 60,
            minute % 60
        );
        object["metadata"]["creationTimestamp"] = json!(made);
        self.store(name, object, 201)
    }

    fn replace(&mut self, mut object: Value, before: &Value) -> Reply {
        let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
        if version(&object) != version(before) {
            return status(
                409,
                "the object has been modified; please apply your changes to it",
            );
        }
        if object["spec"]["leaseDurationSeconds"].as_u64() == Some(0) {
            return status(422, "spec.leaseDurationSeconds: must be greater than 0");
        }
        object["metadata"]["creationTimestamp"] = before["metadata"]["creationTimestamp"].clone();
        let name = object["metadata"]["name"]
            .as_str()
            .expect("a name")
            .to_owned();
        self.store(name, object, 200)
    }

    fn store(&mut self, name: String, mut object: Value, code: u16) -> Reply {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let text = object.to_string();
        self.leases.insert(name, object);
        (code, text)
    }
}

fn status(code: u16, message: &str) -> Reply {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure",
        "message": message, "code": code,
    });
    (code, status.to_string())
}

fn stage() -> Served<Objects> {
    Served::start(Objects::answer)
}

impl Stage for Served<Objects> {
    type Store = KubernetesStore;

    fn store(&self) -> KubernetesStore {
        let settings = KubernetesSettings::new(&self.server.url(), "demo");
        let store = KubernetesStore::new(settings).expect("the settings are good");
        store.with_clock(Arc::clone(&self.clock) as Arc<dyn Clock>)
    }

    fn pass(&self, time: Duration) {
        self.clock.pass(time);
    }

    fn delete(&self, name: &LeaseName) -> bool {
        let mut objects = self.state.lock().expect("nobody panicked");
        objects.leases.remove(name.as_str()).is_some()
    }
}

contract!(stage());

/// The object of the API reference, which a program holds that is none of ours.
fn sample() -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "creationTimestamp": "2023-07-02T07:56:34Z",
            "labels": { "apiserver.kubernetes.io/identity": "kube-apiserver" },
            "name": "shop",
            "namespace": "demo",
            "resourceVersion": "334899",
            "uid": "90870ab5-1ba9-4523-b215-e4d4e662acb1",
        },
        "spec": {
            "holderIdentity": "apiserver-07a5ea9b9b072c4a5f3d1c3702_0c8914f7",
            "leaseDurationSeconds": 3600,
            "renewTime": "2023-07-04T21:58:48.065888Z",
        },
    })
}

fn node(settings: KubernetesSettings) -> Node<KubernetesStore> {
    Node::new(
        KubernetesStore::new(settings).expect("the settings are good"),
        "a",
    )
}

#[test]
fn an_account_is_shown_by_its_token_which_is_read_again_for_each_request() {
    let exchange = |request, status, body: &Value| Exchange {
        request,
        holds: &[],
        status,
        body: body.to_string(),
    };
    const READ: &str = "GET /apis/coordination.k8s.io/v1/namespaces/demo/leases/shop";
    let (server, heard) = recorded(vec![
        exchange(READ, 200, &sample()),
        exchange(READ, 200, &sample()),
    ]);
    let directory = tempfile::tempdir().expect("there is room for a directory");
    let path = directory.path().join("token");
    let mut settings = KubernetesSettings::new(&server.url(), "demo");
    settings.credential = Credential::File(path.clone());
    fs::write(&path, "first\n").expect("it can be written");
    let mut node = node(settings);
    for token in ["first", "second"] {
        fs::write(&path, format!("{token}\n")).expect("it can be written");
        let owner = "apiserver-07a5ea9b9b072c4a5f3d1c3702_0c8914f7".into();
        assert_eq!(
            node.ask(&name("shop"), Deed::Acquire(Token(0))),
            Answer::HeldBy { owner }
        );
        let heard = heard.lock().expect("nobody panicked");
        let last = heard.last().expect("it was asked");
        let sent = last.header("authorization");
        assert_eq!(sent, Some(format!("Bearer {token}").as_str()));
    }
    fs::remove_file(&path).expect("it is there");
    let refused = node.ask(&name("shop"), Deed::Acquire(Token(0)));
    assert!(matches!(refused, Answer::Failed { .. }), "{refused:?}");
}

#[test]
fn a_lease_that_nobody_holds_is_replaced_with_the_version_that_was_read() {
    let mut free = sample();
    free["spec"] = json!({ "leaseTransitions": 4 });
    let mut after = sample();
    after["spec"]["holderIdentity"] = json!("a");
    after["spec"]["leaseTransitions"] = json!(5);
    let exchanges = vec![
        Exchange {
            request: "GET /apis/coordination.k8s.io/v1/namespaces/demo/leases/shop",
            holds: &[],
            status: 200,
            body: free.to_string(),
        },
        Exchange {
            request: "PUT /apis/coordination.k8s.io/v1/namespaces/demo/leases/shop",
            holds: &[
                r#""resourceVersion":"334899""#,
                r#""holderIdentity":"a""#,
                r#""leaseTransitions":5"#,
                r#""leaseDurationSeconds":12"#,
                r#""apiserver.kubernetes.io/identity":"kube-apiserver""#,
            ],
            status: 200,
            body: after.to_string(),
        },
    ];
    let (server, _) = recorded(exchanges);
    let mut node = node(KubernetesSettings::new(&server.url(), "demo"));
    let token = Token(1_688_284_594 << 31 | 5);
    assert_eq!(
        node.ask(&name("shop"), Deed::Acquire(Token(0))),
        Answer::Held { token }
    );
}

/// What an ask comes to when everything is answered like this.
fn answered(status: u16, body: &str) -> Answer {
    let body = body.to_owned();
    let server = Server::start(move |_| (status, body.clone()));
    node(KubernetesSettings::new(&server.url(), "demo")).ask(&name("shop"), Deed::Acquire(Token(0)))
}

#[test]
fn whatever_a_server_answers_else_fails_in_one_line() {
    let forbidden = "leases.coordination.k8s.io \"shop\" is forbidden";
    let (code, body) = status(403, forbidden);
    let huge = format!("{{\"kind\":\"{}\"}}", "x".repeat(1 << 20));
    let unlimited = {
        let mut object = sample();
        object["spec"] = json!({ "holderIdentity": "b" });
        object.to_string()
    };
    let told = [
        (code, body.as_str(), "403"),
        (401, "Unauthorized", "401 Unauthorized"),
        (500, "", "500"),
        (302, "", "302"),
        (200, "", "no JSON"),
        (200, "{}", "metadata"),
        (200, &huge, "no answer"),
        (200, &unlimited, "no duration"),
    ];
    for (code, body, expected) in told {
        let Answer::Failed { why } = answered(code, body) else {
            panic!("{code} {expected} is no failure");
        };
        assert!(why.contains(expected), "{why}");
        assert!(why.len() < 400 && !why.contains('\n'), "{why}");
    }
}

#[test]
fn a_lease_that_others_change_all_the_time_fails_after_some_tries() {
    let server = Server::start(move |request| match request.method.as_str() {
        "GET" => {
            let mut object = sample();
            object["spec"] = json!({});
            (200, object.to_string())
        }
        _ => status(409, "the object has been modified"),
    });
    let mut node = node(KubernetesSettings::new(&server.url(), "demo"));
    let Answer::Failed { why } = node.ask(&name("shop"), Deed::Acquire(Token(0))) else {
        panic!("it is held");
    };
    assert!(why.contains("others changed"), "{why}");
}

#[test]
fn a_server_that_does_not_answer_fails_an_ask_in_time() {
    let (say, heard) = std::sync::mpsc::channel::<()>();
    let server = Server::start(move |_| {
        // Until the test is over.
        let _ = heard.recv();
        status(500, "")
    });
    let mut settings = KubernetesSettings::new(&server.url(), "demo");
    settings.patience = Duration::from_millis(200);
    let before = Instant::now();
    let Answer::Failed { why } = node(settings).ask(&name("shop"), Deed::Acquire(Token(0))) else {
        panic!("it is held");
    };
    assert!(why.contains("its time was over"), "{why}");
    let took = before.elapsed();
    assert!(
        (Duration::from_millis(200)..Duration::from_secs(5)).contains(&took),
        "{took:?}"
    );
    drop(say);
}

#[test]
fn nobody_there_fails_an_ask() {
    let url = Server::start(|_| status(500, "")).url();
    let Answer::Failed { why } =
        node(KubernetesSettings::new(&url, "demo")).ask(&name("shop"), Deed::Acquire(Token(0)))
    else {
        panic!("it is held");
    };
    assert!(why.starts_with("no answer: "), "{why}");
}

#[test]
fn a_namespace_is_no_path() {
    for namespace in ["", "../default", "a/b", "A"] {
        let settings = KubernetesSettings::new("http://127.0.0.1:1", namespace);
        KubernetesStore::new(settings).expect_err(namespace);
    }
}

/// What is real is asked once: the object it makes stays there.
#[test]
fn a_real_api_server_does_the_same() {
    let Ok(url) = env::var("RINGMESH_TEST_KUBERNETES") else {
        println!("skipped: RINGMESH_TEST_KUBERNETES names no API server");
        return;
    };
    let name = name(&format!("ringmesh-test-{}", std::process::id()));
    let node = |owner| {
        let settings = KubernetesSettings::new(&url, "default");
        Node::new(
            KubernetesStore::new(settings).expect("the settings are good"),
            owner,
        )
    };
    let (mut a, mut b) = (node("a"), node("b"));
    let token = a.has(&name);
    assert_eq!(
        b.ask(&name, Deed::Acquire(Token(0))),
        Answer::HeldBy { owner: "a".into() }
    );
    assert_eq!(a.ask(&name, Deed::Renew(token)), Answer::Held { token });
    assert_eq!(a.ask(&name, Deed::Release(token)), Answer::Released);
    let second = b.has(&name);
    assert!(second > token);
    assert_eq!(a.ask(&name, Deed::Renew(token)), Answer::Lost);
    assert_eq!(b.ask(&name, Deed::Release(second)), Answer::Released);
}

#[test]
fn an_object_that_was_deleted_is_made_anew_to_count_on_from_what_was_given_out() {
    let (stage, shop) = (stage(), name("shop"));
    let mut node = Node::new(stage.store(), "a");
    let first = node.has(&shop);
    node.ask(&shop, Deed::Release(first));
    let last = node.has(&shop);
    // All of that, and what follows, is within one second of the server.
    assert!(stage.delete(&shop));
    let Answer::Held { token } = node.ask(&shop, Deed::Acquire(last)) else {
        panic!("nobody has it");
    };
    assert!(first < last && last < token, "{first} {last} {token}");
}
