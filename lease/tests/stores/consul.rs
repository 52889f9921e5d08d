//! The suite on what Consul does with sessions and keys, and exchanges as its reference shows them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeMap;
use std::env;
use std::time::Duration;

use ringmesh_lease::{
    Answer, Clock as _, ConsulSettings, ConsulStore, Credential, Deed, LeaseName, Token,
};
use serde_json::{Value, json};

use crate::contract::{Node, Stage, TIME_TO_LIVE, contract, name};
use crate::server::{Exchange, Reply, Request, Served, Server, recorded};

/// An agent as far as sessions and keys go.
#[derive(Default)]
struct Agent {
    /// Grows with every write.
    index: u64,
    sessions: BTreeMap<String, Session>,
    keys: BTreeMap<String, Key>,
    made: u64,
}

struct Session {
    time_to_live: Duration,
    lock_delay: Duration,
    ends: Duration,
}

#[derive(Default)]
struct Key {
    value: String,
    session: Option<String>,
    made: u64,
    modified: u64,
    locks: u64,
    flags: u64,
    /// It is held back until then.
    delayed: Duration,
}

impl Agent {
    fn answer(&mut self, request: &Request, now: Duration) -> Reply {
        self.end_sessions(now);
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        let verb = (request.method.as_str(), path);
        if verb == ("PUT", "/v1/session/create") {
            return self.create(&request.body, now);
        }
        if let ("PUT", Some(id)) = (verb.0, path.strip_prefix("/v1/session/renew/")) {
            return self.renew(id, now);
        }
        if let ("PUT", Some(id)) = (verb.0, path.strip_prefix("/v1/session/destroy/")) {
            self.destroy(id, now);
            return (200, "true".to_owned());
        }
        let Some(key) = path.strip_prefix("/v1/kv/ringmesh/leases/") else {
            return (404, "Invalid URL path".to_owned());
        };
        let (of_lock, flags) = query.split_once("&flags=").unwrap_or((query, "0"));
        let write = (request.body.as_str(), flags.parse().expect("a number"));
        match (verb.0, of_lock.split_once('=')) {
            ("GET", None) if query == "consistent" => self.read(key),
            ("PUT", Some(("cas", "0"))) => self.make(key, write),
            ("PUT", Some(("acquire", id))) => self.acquire(key, id, write, now),
            ("PUT", Some(("release", id))) => self.release(key, id, write),
            _ => (405, format!("{} {}", request.method, request.path)),
        }
    }

    /// As a person writes a key, who knows nothing of locks.
    fn overwrite(&mut self, key: &str) {
        self.index += 1;
        let key = self.keys.get_mut(key).expect("there is one");
        (key.modified, key.locks, key.flags) = (self.index, 0, 0);
        "mine".clone_into(&mut key.value);
    }

    fn create(&mut self, body: &str, now: Duration) -> Reply {
        let body: Value = serde_json::from_str(body).expect("a body is JSON");
        let seconds = |field: &str| {
            let text = body[field].as_str().and_then(|it| it.strip_suffix('s'));
            let seconds = text.and_then(|it| it.parse().ok());
            Duration::from_secs(seconds.expect("a time in seconds"))
        };
        let (time_to_live, lock_delay) = (seconds("TTL"), seconds("LockDelay"));
        if !(10..=86_400).contains(&time_to_live.as_secs()) {
            return (
                500,
                "Invalid Session TTL, must be between [10s=24h0m0s]".to_owned(),
            );
        }
        assert_eq!(body["NodeChecks"], json!([]), "a check would end it sooner");
        self.made += 1;
        let id = format!("adf4238a-882b-9ddc-4a9d-{:012x}", self.made);
        let session = Session {
            time_to_live,
            lock_delay,
            // It may take twice as long.
            ends: now + 2 * time_to_live,
        };
        self.sessions.insert(id.clone(), session);
        (200, json!({ "ID": id }).to_string())
    }

    fn renew(&mut self, id: &str, now: Duration) -> Reply {
        let Some(session) = self.sessions.get_mut(id) else {
            return (404, format!("Session id '{id}' not found"));
        };
        session.ends = now + 2 * session.time_to_live;
        (
            200,
            json!([{ "ID": id, "Behavior": "release" }]).to_string(),
        )
    }

    /// Whoever had a key through it has that no more, and nobody has it before the delay is over.
    fn destroy(&mut self, id: &str, now: Duration) {
        let Some(session) = self.sessions.remove(id) else {
            return;
        };
        self.index += 1;
        for key in self.keys.values_mut() {
            if key.session.as_deref() == Some(id) {
                key.session = None;
                key.modified = self.index;
                key.delayed = now + session.lock_delay;
            }
        }
    }

    fn end_sessions(&mut self, now: Duration) {
        let over = self.sessions.iter().filter(|(_, it)| it.ends <= now);
        let over: Vec<String> = over.map(|(id, _)| id.clone()).collect();
        over.iter().for_each(|id| self.destroy(id, now));
    }

    fn acquire(&mut self, key: &str, id: &str, write: (&str, u64), now: Duration) -> Reply {
        if !self.sessions.contains_key(id) {
            return (500, format!("invalid session {id:?}"));
        }
        let key = self.keys.entry(key.to_owned()).or_insert_with(|| Key {
            made: self.index + 1,
            ..Key::default()
        });
        if key.delayed > now || key.session.as_deref().is_some_and(|it| it != id) {
            return (200, "false".to_owned());
        }
        if key.session.is_none() {
            key.locks += 1;
        }
        self.index += 1;
        key.modified = self.index;
        key.session = Some(id.to_owned());
        key.flags = write.1;
        write.0.clone_into(&mut key.value);
        (200, "true".to_owned())
    }

    fn make(&mut self, key: &str, write: (&str, u64)) -> Reply {
        if self.keys.contains_key(key) {
            return (200, "false".to_owned());
        }
        self.index += 1;
        let it = Key {
            value: write.0.to_owned(),
            made: self.index,
            modified: self.index,
            flags: write.1,
            ..Key::default()
        };
        self.keys.insert(key.to_owned(), it);
        (200, "true".to_owned())
    }

    fn release(&mut self, key: &str, id: &str, write: (&str, u64)) -> Reply {
        let key = self.keys.get_mut(key);
        let Some(key) = key.filter(|key| key.session.as_deref() == Some(id)) else {
            return (200, "false".to_owned());
        };
        self.index += 1;
        key.modified = self.index;
        key.session = None;
        key.flags = write.1;
        write.0.clone_into(&mut key.value);
        (200, "true".to_owned())
    }

    fn read(&self, name: &str) -> Reply {
        let Some(key) = self.keys.get(name).filter(|key| key.modified > 0) else {
            return (404, String::new());
        };
        let mut entry = json!({
            "CreateIndex": key.made,
            "ModifyIndex": key.modified,
            "LockIndex": key.locks,
            "Key": format!("ringmesh/leases/{name}"),
            "Flags": key.flags,
            "Value": STANDARD.encode(&key.value),
        });
        if let Some(session) = &key.session {
            entry["Session"] = json!(session);
        }
        (200, json!([entry]).to_string())
    }
}

fn stage() -> Served<Agent> {
    Served::start(Agent::answer)
}

impl Stage for Served<Agent> {
    type Store = ConsulStore;

    fn store(&self) -> ConsulStore {
        let settings = ConsulSettings::new(&self.server.url());
        ConsulStore::new(settings).expect("the settings are good")
    }

    fn pass(&self, time: Duration) {
        self.clock.pass(time);
    }

    fn delete(&self, name: &LeaseName) -> bool {
        let mut agent = self.state.lock().expect("nobody panicked");
        agent.keys.remove(name.as_str()).is_some()
    }

    fn counts_on(&self) -> bool {
        false
    }
}

contract!(stage());

#[test]
fn a_session_that_somebody_ended_holds_the_lease_back_for_its_time_to_live() {
    let (stage, shop) = (stage(), name("shop"));
    let (mut a, mut b) = (Node::new(stage.store(), "a"), Node::new(stage.store(), "b"));
    let token = a.has(&shop);
    {
        let mut agent = stage.state.lock().expect("nobody panicked");
        let id = agent.sessions.keys().next().expect("there is one").clone();
        agent.destroy(&id, stage.clock.now());
    }
    stage.pass(TIME_TO_LIVE - Duration::from_secs(1));
    let Answer::Failed { why } = b.ask(&shop, Deed::Acquire(Token(0))) else {
        panic!("a may count on it yet");
    };
    assert!(why.contains("lock-delay"), "{why}");
    assert_eq!(a.ask(&shop, Deed::Renew(token)), Answer::Lost);
    stage.pass(Duration::from_secs(1));
    assert!(b.has(&shop) > token);
}

#[test]
fn what_was_released_leaves_no_session_behind() {
    let (stage, shop) = (stage(), name("shop"));
    let mut a = Node::new(stage.store(), "a");
    for _ in 0..3 {
        let token = a.has(&shop);
        a.ask(&shop, Deed::Release(token));
    }
    let agent = stage.state.lock().expect("nobody panicked");
    assert_eq!(agent.sessions.len(), 0);
}

const SESSION: &str = "adf4238a-882b-9ddc-4a9d-5b6758e4159e";

/// The key of the reference, with our flags, and who has it.
fn sample(session: Option<&str>) -> String {
    let mut key = json!({
        "CreateIndex": 100, "ModifyIndex": 200, "LockIndex": 200,
        "Key": "zip", "Flags": 8_244_241_983_374_455_656_u64, "Value": "dGVzdA==",
    });
    if let Some(session) = session {
        key["Session"] = json!(session);
    }
    json!([key]).to_string()
}

fn exchange(
    request: &'static str,
    holds: &'static [&'static str],
    status: u16,
    body: impl Into<String>,
) -> Exchange {
    let body = body.into();
    Exchange {
        request,
        holds,
        status,
        body,
    }
}

const LOOK: &str = "GET /v1/kv/ringmesh/leases/shop?consistent";

const RENEWED: &str = r#"[{
    "ID": "adf4238a-882b-9ddc-4a9d-5b6758e4159e", "Name": "test-session",
    "Node": "raja-laptop-02", "LockDelay": 15000000000, "Behavior": "release", "TTL": "30s",
    "NodeChecks": ["serfHealth"], "ServiceChecks": null,
    "CreateIndex": 1086449, "ModifyIndex": 1086449
}]"#;

#[test]
fn a_lease_is_a_session_a_lock_and_a_look_at_it() {
    let created = format!("{{\"ID\":\"{SESSION}\"}}");
    let locked = || sample(Some(SESSION));
    let (server, heard) = recorded(vec![
        exchange(LOOK, &[], 200, sample(None)),
        exchange(
            "PUT /v1/session/create",
            &[
                r#""Name":"a""#,
                r#""TTL":"12s""#,
                r#""LockDelay":"12s""#,
                r#""release""#,
            ],
            200,
            created,
        ),
        exchange(
            "PUT /v1/kv/ringmesh/leases/shop?acquire=adf4238a-882b-9ddc-4a9d-5b6758e4159e\
             &flags=8244241983374455656",
            &[r#""owner":"a""#],
            200,
            "true\n",
        ),
        exchange(LOOK, &[], 200, locked()),
        exchange(
            "PUT /v1/session/renew/adf4238a-882b-9ddc-4a9d-5b6758e4159e",
            &[],
            200,
            RENEWED,
        ),
        exchange(LOOK, &[], 200, locked()),
        exchange(
            "PUT /v1/kv/ringmesh/leases/shop?release=adf4238a-882b-9ddc-4a9d-5b6758e4159e\
             &flags=8244241983374455656",
            &[],
            200,
            "true",
        ),
        exchange(
            "PUT /v1/session/destroy/adf4238a-882b-9ddc-4a9d-5b6758e4159e",
            &[],
            200,
            "true",
        ),
    ]);
    let mut settings = ConsulSettings::new(&server.url());
    settings.credential = Credential::Text("hidden".into());
    let mut node = Node::new(
        ConsulStore::new(settings).expect("the settings are good"),
        "a",
    );
    let (shop, token) = (name("shop"), Token(100 << 24 | 200));
    assert_eq!(
        node.ask(&shop, Deed::Acquire(Token(0))),
        Answer::Held { token }
    );
    assert_eq!(node.ask(&shop, Deed::Renew(token)), Answer::Held { token });
    assert_eq!(node.ask(&shop, Deed::Release(token)), Answer::Released);
    let heard = heard.lock().expect("nobody panicked");
    assert_eq!(heard.len(), 8);
    let shown = |request: &Request| request.header("x-consul-token") == Some("hidden");
    assert!(heard.iter().all(shown));
}

fn node(url: &str) -> Node<ConsulStore> {
    let settings = ConsulSettings::new(url);
    Node::new(
        ConsulStore::new(settings).expect("the settings are good"),
        "a",
    )
}

#[test]
fn a_lease_that_another_has_takes_one_look_and_names_its_session_if_the_key_names_nobody() {
    let (server, _) = recorded(vec![exchange(LOOK, &[], 200, sample(Some(SESSION)))]);
    let owner = SESSION.into();
    let answer = node(&server.url()).ask(&name("shop"), Deed::Acquire(Token(0)));
    assert_eq!(answer, Answer::HeldBy { owner });
}

#[test]
fn a_lease_that_another_was_given_after_the_look_is_that_ones() {
    let created = r#"{"ID":"00000000-882b-9ddc-4a9d-5b6758e4159e"}"#;
    let (server, _) = recorded(vec![
        exchange(LOOK, &[], 404, ""),
        exchange("PUT /v1/session/create", &[], 200, created),
        exchange(
            "PUT /v1/kv/ringmesh/leases/shop?acquire=00000000-882b-9ddc-4a9d-5b6758e4159e\
             &flags=8244241983374455656",
            &[],
            200,
            "false",
        ),
        exchange(LOOK, &[], 200, sample(Some(SESSION))),
    ]);
    let owner = SESSION.into();
    let answer = node(&server.url()).ask(&name("shop"), Deed::Acquire(Token(0)));
    assert_eq!(answer, Answer::HeldBy { owner });
}

#[test]
fn a_key_that_a_person_wrote_fails_until_it_is_deleted() {
    let (stage, shop) = (stage(), name("shop"));
    let mut a = Node::new(stage.store(), "a");
    let token = a.has(&shop);
    a.ask(&shop, Deed::Release(token));
    let last = a.has(&shop);
    stage
        .state
        .lock()
        .expect("nobody panicked")
        .overwrite("shop");
    for deed in [Deed::Acquire(Token(0)), Deed::Renew(last)] {
        let Answer::Failed { why } = a.ask(&shop, deed) else {
            panic!("its count is gone");
        };
        assert!(why.contains("somebody else wrote the key"), "{why}");
    }
    assert!(stage.delete(&shop));
    assert_eq!(a.ask(&shop, Deed::Renew(last)), Answer::Lost);
    assert!(a.has(&shop) > last);
}

#[test]
fn whatever_an_agent_answers_else_fails_in_one_line_without_the_secret() {
    let told = [
        (
            403,
            "Permission denied: token lacks permission 'session:write'",
            "403 Permission",
        ),
        (403, "no such token: hidden", "403"),
        (500, "No cluster leader", "500 No cluster leader"),
        (200, "", "no JSON"),
        (200, "true", "no list"),
        (404, "", "404"),
    ];
    for (status, body, expected) in told {
        let server = Server::start(move |_| (status, body.to_owned()));
        let mut settings = ConsulSettings::new(&server.url());
        settings.credential = Credential::Text("hidden".into());
        let store = ConsulStore::new(settings).expect("the settings are good");
        assert!(!format!("{store:?}").contains("hidden"));
        let Answer::Failed { why } =
            Node::new(store, "a").ask(&name("shop"), Deed::Acquire(Token(0)))
        else {
            panic!("{body} is no failure");
        };
        assert!(why.contains(expected) && !why.contains("hidden"), "{why}");
    }
}

/// A real agent is asked once, by names of their own.
#[test]
fn a_real_agent_does_the_same() {
    let Ok(url) = env::var("RINGMESH_TEST_CONSUL") else {
        println!("skipped: RINGMESH_TEST_CONSUL names no agent");
        return;
    };
    let name = name(&format!("ringmesh-test-{}", std::process::id()));
    let node = |owner| {
        let settings = ConsulSettings::new(&url);
        Node::new(
            ConsulStore::new(settings).expect("the settings are good"),
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
