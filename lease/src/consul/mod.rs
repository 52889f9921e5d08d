//! A store of keys that are locked by sessions, in Consul.

mod entry;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ringmesh_cluster::lease::{Answer, Ask, Deed, LeaseName, Token};
use serde_json::{Value, json};

use self::entry::{Entry, Malformed};
use crate::credential::Credential;
use crate::http::{Server, ServerError, Target};
use crate::refusal::{check, failed};
use crate::{LEASES_MAX, PATIENCE, Store};

/// The shortest time to live of a session that Consul takes, in seconds.
const SESSION_SECONDS_MIN: u64 = 10;

/// The longest lock-delay that Consul takes, in seconds.
const LOCK_DELAY_SECONDS_MAX: u64 = 60;

/// What a key is marked with. Whoever writes it in another way does not know of this number.
const FLAGS: u64 = 0x7269_6e67_6d65_7368;

/// The longest prefix of keys, in bytes.
const PREFIX_BYTES_MAX: usize = 128;

/// Where Consul is, and how it is asked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConsulSettings {
    /// `http://HOST:PORT` or `https://HOST:PORT` of an agent: best that of the same host.
    pub url: String,
    /// What the key of a lease begins with: "ringmesh/leases/".
    pub prefix: String,
    /// An ACL token that may write sessions, and keys with that prefix.
    pub credential: Credential,
    /// The certificates of those that vouch for the agent, as PEM. `None`: the authorities that
    /// browsers trust.
    pub ca_file: Option<PathBuf>,
    /// How long a lease whose session ended is held back: rounded up to seconds, 60 at most.
    /// `None`: its time to live, as far as that. Less than that, and a lease whose session was
    /// ended by somebody goes to the next while its holder counts on it; more, and one whose holder
    /// is gone waits longer.
    pub lock_delay: Option<Duration>,
    /// How long an ask may take.
    pub patience: Duration,
}

impl ConsulSettings {
    /// That agent, asked without a credential.
    pub fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            prefix: "ringmesh/leases/".to_owned(),
            credential: Credential::None,
            ca_file: None,
            lock_delay: None,
            patience: PATIENCE,
        }
    }
}

/// A store of keys that are locked by sessions, in Consul 1.7 and later.
///
/// Each lease is a key, which a session of its holder locks. Consul ends the session when it is not
/// renewed for its time to live, and never sooner by itself (it may take twice as long): so nobody
/// watches a clock here. A session can be ended by others, and ends when its node leaves the
/// catalogue; then the lock-delay holds the lease back for as long as its holder may count on it.
/// It has no health checks, which would end it sooner. So the lease of a holder that died is free
/// after up to twice its time to live, and the lock-delay.
///
/// # Tokens
///
/// `LockIndex` grows by one whenever another session locks the key. It begins anew if the key is
/// deleted, so the token has `CreateIndex` in front of it: the position in the servers' log at
/// which the key was made, which grows with every write to anything. The upper 40 bits are that,
/// the lower 24 `LockIndex`. It can only fall when the servers are restored from a backup, and no
/// count of its own can be given to a key: so it gives those tokens once more that the backup does
/// not know of, also where others know of them. Whoever goes by tokens smaller than the last one
/// that it knows is told so and does nothing; but not whoever knows of none of those. So before
/// anybody asks a restored server, delete the key, when it is certain that nobody holds the lease.
/// It is made anew, at a later position.
///
/// Who deletes the key releases the lease: its holder learns that with its next renewal.
///
/// Who writes the key sets `LockIndex` back to 0. That is seen, by the flags of the key, and fails
/// every ask from then on: delete the key when it is certain that nobody holds the lease.
#[derive(Debug)]
pub struct ConsulStore {
    server: Server,
    settings: ConsulSettings,
    /// The sessions that were made here, and may live, each for a lease and an owner.
    sessions: BTreeMap<Key, Session>,
}

type Key = (LeaseName, Box<str>);

#[derive(Clone, Debug)]
struct Session {
    id: String,
    seconds: u64,
    /// What was given with it.
    token: Option<Token>,
}

impl ConsulStore {
    /// Nothing is sent before the first ask.
    ///
    /// # Errors
    /// [`ServerError`] if the settings cannot be used.
    pub fn new(settings: ConsulSettings) -> Result<Self, ServerError> {
        let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b",-_./".contains(&byte);
        let prefix = &settings.prefix;
        let is_long = prefix.len() > PREFIX_BYTES_MAX || prefix.starts_with('/');
        if is_long || prefix.contains("..") || !prefix.bytes().all(is_good) {
            return Err(ServerError::Prefix);
        }
        let server = Server::new(Target {
            url: settings.url.clone(),
            ca_file: settings.ca_file.clone(),
            credential: settings.credential.clone(),
            header: ("x-consul-token", ""),
        })?;
        Ok(Self {
            server,
            settings,
            sessions: BTreeMap::new(),
        })
    }

    fn answer(&mut self, ask: &Ask) -> Result<Answer, Failure> {
        let deadline = Instant::now() + self.settings.patience;
        match ask.deed {
            // Its tokens cannot be chosen.
            Deed::Acquire(_) => self.acquire(ask, deadline),
            Deed::Renew(token) => self.renew(ask, token, deadline),
            Deed::Release(token) => self.release(ask, token, deadline),
            Deed::Look(_) => self.look(&ask.name, deadline),
        }
    }

    /// A key that is not there is made, for tokens count on from when it was.
    fn look(&mut self, name: &LeaseName, deadline: Instant) -> Result<Answer, Failure> {
        let mut entry = self.read(name, deadline)?;
        if entry.is_none() {
            let path = self.path(name, &format!("cas=0&flags={FLAGS}"));
            self.is_done(&path, b"{}".to_vec(), deadline)?;
            entry = self.read(name, deadline)?;
        }
        let token = entry.ok_or(Failure::Deleted)?.last()?;
        Ok(Answer::Last { token })
    }

    fn acquire(&mut self, ask: &Ask, deadline: Instant) -> Result<Answer, Failure> {
        // First a look: what somebody else wrote is not to be written over, for the count of the
        // locks is gone with that.
        let entry = self.read(&ask.name, deadline)?;
        let own = self.sessions.get(&key(ask)).map(|it| it.id.clone());
        if let Some(entry) = entry
            && let Some(holder) = entry.session()
            && Some(holder) != own.as_deref()
        {
            let owner = entry.owner();
            return Ok(Answer::HeldBy { owner });
        }
        let id = self.session(ask, deadline)?;
        let path = self.path(&ask.name, &format!("acquire={id}&flags={FLAGS}"));
        let is_locked = self.is_done(&path, value(ask), deadline)?;
        let entry = self.read(&ask.name, deadline)?.ok_or(Failure::Deleted)?;
        let Some(holder) = entry.session() else {
            return Err(Failure::Delayed);
        };
        if holder != id {
            let owner = entry.owner();
            return Ok(Answer::HeldBy { owner });
        }
        if !is_locked {
            return Err(Malformed("it says that the lock is not ours, and that it is").into());
        }
        let token = entry.token()?;
        if let Some(session) = self.sessions.get_mut(&key(ask)) {
            session.token = Some(token);
        }
        Ok(Answer::Held { token })
    }

    fn renew(&mut self, ask: &Ask, token: Token, deadline: Instant) -> Result<Answer, Failure> {
        let Some(session) = self.own(ask, token) else {
            return Ok(Answer::Lost);
        };
        // First the time, then the look: what is seen was so after its time began anew.
        let lives = self.renew_session(&session.id, deadline)?;
        let entry = match lives {
            true => self.read(&ask.name, deadline)?,
            false => None,
        };
        if entry.is_some_and(|entry| entry.session() == Some(&session.id)) {
            return Ok(Answer::Held { token });
        }
        self.sessions.remove(&key(ask));
        // It may live without the key. If it is not ended now it ends by itself.
        let _ = self.destroy(&session.id, deadline);
        Ok(Answer::Lost)
    }

    fn release(&mut self, ask: &Ask, token: Token, deadline: Instant) -> Result<Answer, Failure> {
        let Some(session) = self.own(ask, token) else {
            return Ok(Answer::Released);
        };
        // A key that its session gave back has no lock-delay. If it does not have it, nothing is to
        // be given back.
        let query = format!("release={}&flags={FLAGS}", session.id);
        let path = self.path(&ask.name, &query);
        self.is_done(&path, value(ask), deadline)?;
        self.sessions.remove(&key(ask));
        let _ = self.destroy(&session.id, deadline);
        Ok(Answer::Released)
    }

    /// The session with which a token was given to whoever asks.
    fn own(&self, ask: &Ask, token: Token) -> Option<Session> {
        let session = self.sessions.get(&key(ask));
        session.filter(|it| it.token == Some(token)).cloned()
    }

    /// A session for whoever asks, with all its time before it.
    fn session(&mut self, ask: &Ask, deadline: Instant) -> Result<String, Failure> {
        let seconds = session_seconds(ask.time_to_live);
        if let Some(session) = self.sessions.get(&key(ask)).cloned() {
            if session.seconds == seconds && self.renew_session(&session.id, deadline)? {
                return Ok(session.id);
            }
            self.sessions.remove(&key(ask));
        }
        if self.sessions.len() >= LEASES_MAX {
            return Err(Failure::Full);
        }
        let delay = self.delay_seconds(ask.time_to_live);
        let body = json!({
            "Name": &*ask.owner,
            "TTL": format!("{seconds}s"),
            "LockDelay": format!("{delay}s"),
            "Behavior": "release",
            "NodeChecks": [],
        });
        let body = Some(body.to_string().into_bytes());
        let request = ("PUT", "/v1/session/create");
        let reply = self.server.send(request, body, deadline)?;
        if reply.status != 200 {
            return Err(self.server.refused(&reply).into());
        }
        let id = entry::session_id(&reply.json()?)?;
        let session = Session {
            id: id.clone(),
            seconds,
            token: None,
        };
        self.sessions.insert(key(ask), session);
        Ok(id)
    }

    fn delay_seconds(&self, time_to_live: Duration) -> u64 {
        let delay = self.settings.lock_delay.unwrap_or(time_to_live);
        whole_seconds(delay).clamp(1, LOCK_DELAY_SECONDS_MAX)
    }

    /// Whether a session lives, with all its time before it.
    fn renew_session(&mut self, id: &str, deadline: Instant) -> Result<bool, Failure> {
        let path = format!("/v1/session/renew/{id}");
        let reply = self
            .server
            .send(("PUT", &path), Some(Vec::new()), deadline)?;
        match reply.status {
            200 => Ok(true),
            404 => Ok(false),
            _ => Err(self.server.refused(&reply).into()),
        }
    }

    fn destroy(&mut self, id: &str, deadline: Instant) -> Result<(), ServerError> {
        let path = format!("/v1/session/destroy/{id}");
        let reply = self
            .server
            .send(("PUT", &path), Some(Vec::new()), deadline)?;
        if reply.status == 200 {
            return Ok(());
        }
        Err(self.server.refused(&reply))
    }

    fn path(&self, name: &LeaseName, query: &str) -> String {
        format!("/v1/kv/{}{name}?{query}", self.settings.prefix)
    }

    /// Writes a key under a condition, and says whether that held.
    fn is_done(&mut self, path: &str, body: Vec<u8>, deadline: Instant) -> Result<bool, Failure> {
        let reply = self.server.send(("PUT", path), Some(body), deadline)?;
        match (reply.status, reply.json()) {
            (200, Ok(Value::Bool(is_done))) => Ok(is_done),
            (200, _) => Err(Malformed("it says neither true nor false").into()),
            _ => Err(self.server.refused(&reply).into()),
        }
    }

    /// The key of a lease, as the servers have agreed on it: one that was cut off from the others
    /// does not answer.
    fn read(&mut self, name: &LeaseName, deadline: Instant) -> Result<Option<Entry>, Failure> {
        let path = self.path(name, "consistent");
        let reply = self.server.send(("GET", &path), None, deadline)?;
        match reply.status {
            200 => Ok(Some(Entry::parse(&reply.json()?)?)),
            404 => Ok(None),
            _ => Err(self.server.refused(&reply).into()),
        }
    }
}

fn key(ask: &Ask) -> Key {
    (ask.name.clone(), ask.owner.clone())
}

/// What stands in the key, for people and for others that want it.
fn value(ask: &Ask) -> Vec<u8> {
    json!({ "owner": &*ask.owner }).to_string().into_bytes()
}

fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

fn session_seconds(time_to_live: Duration) -> u64 {
    whole_seconds(time_to_live).max(SESSION_SECONDS_MIN)
}

/// Why it is not known what came of an ask.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Server(#[from] ServerError),
    #[error("Consul's answer cannot be used: {0}")]
    Malformed(#[from] Malformed),
    #[error("the key was deleted meanwhile")]
    Deleted,
    #[error("nobody has it, and the lock-delay of whoever had it last is not over")]
    Delayed,
    #[error("there are sessions for {LEASES_MAX} leases, and no room for more")]
    Full,
}

impl Store for ConsulStore {
    fn handle(&mut self, ask: &Ask) -> Answer {
        let answer = check(ask).map(|()| self.answer(ask));
        match answer {
            Ok(Ok(answer)) | Err(answer) => answer,
            Ok(Err(error)) => failed(error),
        }
    }

    /// A session may take twice its time to end, and the lock-delay comes behind that.
    fn free_after(&self, time_to_live: Duration) -> Duration {
        let seconds = 2 * session_seconds(time_to_live) + self.delay_seconds(time_to_live);
        Duration::from_secs(seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_over_the_prefix_bytes_max_is_no_prefix_nor_is_what_consul_takes_for_none() {
        let with = |prefix: &str| {
            let mut settings = ConsulSettings::new("http://127.0.0.1:8500");
            prefix.clone_into(&mut settings.prefix);
            ConsulStore::new(settings)
        };
        let longest = "a".repeat(PREFIX_BYTES_MAX);
        for good in ["", "a/", "shop/leases.", &longest] {
            with(good).expect(good);
        }
        for bad in ["/a", "a/../", "a b", "a?", "a%2f", &format!("{longest}a")] {
            let error = with(bad).expect_err(bad);
            assert!(matches!(error, ServerError::Prefix), "{error}");
        }
    }
}
