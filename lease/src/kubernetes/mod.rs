//! A store of `Lease` objects, in the API server of Kubernetes.

mod object;
mod time;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringmesh_cluster::lease::{Answer, Ask, Deed, LeaseName, Token};

use self::object::{Lease, Malformed};
use crate::clock::{Clock, SystemClock};
use crate::credential::Credential;
use crate::http::{Server, ServerError, Target};
use crate::observer::Observer;
use crate::refusal::{check, failed};
use crate::{PATIENCE, Store};

/// Where a pod finds what it needs to ask the API server.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// So often an ask is tried when others change the object meanwhile.
const TRIES: usize = 4;

/// Where the API server is, and how it is asked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct KubernetesSettings {
    /// `https://HOST:PORT`.
    pub server: String,
    /// The namespace of the objects.
    pub namespace: String,
    /// Who asks: a service account that may `get`, `create` and `update` leases of
    /// `coordination.k8s.io` in that namespace.
    pub credential: Credential,
    /// The certificates of those that vouch for the server, as PEM. `None`: the authorities that
    /// browsers trust.
    pub ca_file: Option<PathBuf>,
    /// How long an ask may take.
    pub patience: Duration,
}

impl KubernetesSettings {
    /// That server, asked without a credential.
    pub fn new(server: &str, namespace: &str) -> Self {
        Self {
            server: server.to_owned(),
            namespace: namespace.to_owned(),
            credential: Credential::None,
            ca_file: None,
            patience: PATIENCE,
        }
    }

    /// What a pod is given: its API server, its namespace and its service account.
    ///
    /// # Errors
    /// [`ServerError::NoPod`] where that is not there.
    pub fn in_cluster() -> Result<Self, ServerError> {
        let no_pod = |what: String| ServerError::NoPod { what };
        let variable =
            |name: &str| env::var(name).map_err(|_| no_pod(format!("{name} is not set")));
        let host = variable("KUBERNETES_SERVICE_HOST")?;
        let port = variable("KUBERNETES_SERVICE_PORT")?;
        let host = if host.contains(':') {
            format!("[{host}]")
        } else {
            host
        };
        let account = Path::new(ACCOUNT);
        let path = account.join("namespace");
        let namespace = fs::read_to_string(&path);
        let namespace =
            namespace.map_err(|error| no_pod(format!("{}: {error}", path.display())))?;
        Ok(Self {
            credential: Credential::File(account.join("token")),
            ca_file: Some(account.join("ca.crt")),
            ..Self::new(&format!("https://{host}:{port}"), namespace.trim())
        })
    }
}

/// A store of `Lease` objects, in the API server of Kubernetes.
///
/// Each lease is an object of its name (`coordination.k8s.io/v1`), in one namespace. It is read and
/// replaced with the version that was read: if another replaced it meanwhile the server refuses
/// that (409), so of two only one has it. What others wrote into the object stays.
///
/// The times in the object are for people, and for other programs: they are of the holder's wall
/// clock. Whether its time is over is found out by watching, as Kubernetes' own leader election
/// does. It works beside that: both respect each other's leases.
///
/// # Tokens
///
/// `leaseTransitions` grows by one whenever the lease goes to somebody. It begins anew if the
/// object is deleted, so the token has the time in front of it at which the object was made
/// (`creationTimestamp`, by the clock of the API server): the upper 33 bits are that in seconds,
/// the lower 31 `leaseTransitions`. A token could repeat only if an object is made, given out,
/// deleted, and made again within one second, or if the server's clock was set back in between.
///
/// Who deletes the object releases the lease: its holder learns that with its next renewal.
#[derive(Debug)]
pub struct KubernetesStore {
    server: Server,
    namespace: String,
    patience: Duration,
    observer: Observer,
}

impl KubernetesStore {
    /// Nothing is sent before the first ask.
    ///
    /// # Errors
    /// [`ServerError`] if the settings cannot be used.
    pub fn new(settings: KubernetesSettings) -> Result<Self, ServerError> {
        // It is a part of a path.
        let namespace = LeaseName::new(&settings.namespace);
        let namespace = namespace.map_err(|_| ServerError::Namespace)?;
        let server = Server::new(Target {
            url: settings.server,
            ca_file: settings.ca_file,
            credential: settings.credential,
            header: ("authorization", "Bearer "),
        })?;
        Ok(Self {
            server,
            namespace: namespace.to_string(),
            patience: settings.patience,
            observer: Observer::new(Arc::new(SystemClock::default())),
        })
    }

    /// Watches others by that clock, instead of the host's: for tests.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.observer = Observer::new(clock);
        self
    }

    fn path(&self, name: Option<&LeaseName>) -> String {
        let namespace = &self.namespace;
        let all = format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases");
        name.map_or_else(|| all.clone(), |name| format!("{all}/{name}"))
    }

    fn answer(&mut self, ask: &Ask) -> Result<Answer, Failure> {
        let deadline = Instant::now() + self.patience;
        for _ in 0..TRIES {
            let found = self.read(&ask.name, deadline)?;
            let answer = match ask.deed {
                Deed::Acquire(known) => self.acquire(ask, found, known, deadline)?,
                Deed::Renew(token) => match kept(found, ask, token) {
                    Some(lease) => self.replace(&lease.renewed(ask), ask, deadline)?,
                    None => Some(Answer::Lost),
                },
                Deed::Release(token) => match kept(found, ask, token) {
                    Some(lease) => self.replace(&lease.released(), ask, deadline)?,
                    None => Some(Answer::Released),
                },
                Deed::Look(floor) => self.look(ask, found, floor, deadline)?,
            };
            if let Some(answer) = answer {
                return Ok(answer);
            }
        }
        Err(Failure::Raced)
    }

    fn acquire(
        &mut self,
        ask: &Ask,
        found: Option<Lease>,
        known: Token,
        deadline: Instant,
    ) -> Result<Option<Answer>, Failure> {
        let Some(lease) = found else {
            return self.make_free(ask, deadline);
        };
        if lease.holder() == Some(&*ask.owner) {
            return self.replace(&lease.renewed(ask), ask, deadline);
        }
        if let Some(owner) = self.other(ask, &lease)? {
            return Ok(Some(Answer::HeldBy { owner }));
        }
        let lease = lease.counting_on(known).unwrap_or(lease);
        let given = lease.given(ask).ok_or(Failure::Exhausted)?;
        self.replace(&given, ask, deadline)
    }

    fn look(
        &mut self,
        ask: &Ask,
        found: Option<Lease>,
        floor: Token,
        deadline: Instant,
    ) -> Result<Option<Answer>, Failure> {
        let Some(lease) = found else {
            return self.make_free(ask, deadline);
        };
        let token = lease.token();
        let Some(on) = lease.counting_on(floor) else {
            return Ok(Some(Answer::Last { token }));
        };
        match self.other(ask, &lease)? {
            Some(owner) => Ok(Some(Answer::HeldBy { owner })),
            None => self.replace(&on, ask, deadline),
        }
    }

    /// Who keeps the lease from whoever asks.
    fn other(&mut self, ask: &Ask, lease: &Lease) -> Result<Option<Box<str>>, Failure> {
        let Some(holder) = lease.holder().filter(|it| **it != *ask.owner) else {
            return Ok(None);
        };
        let time = lease
            .time_to_live()
            .ok_or(Malformed("it has no duration"))?;
        let is_over = self.observer.has_stayed(&ask.name, lease.mark(), time);
        Ok((!is_over).then(|| holder.into()))
    }

    /// Makes an object that nobody has, unless another has just made one. What it counts on from,
    /// as the server says, is read behind that: none that was given out may come again.
    fn make_free(&mut self, ask: &Ask, deadline: Instant) -> Result<Option<Answer>, Failure> {
        let path = self.path(None);
        let body = object::made_free(&ask.name, &self.namespace);
        let reply = self.server.send(("POST", &path), Some(body), deadline)?;
        match reply.status {
            200..=202 | 409 => Ok(None),
            _ => Err(self.server.refused(&reply).into()),
        }
    }

    /// The object of a lease, if there is one.
    fn read(&mut self, name: &LeaseName, deadline: Instant) -> Result<Option<Lease>, Failure> {
        let path = self.path(Some(name));
        let reply = self.server.send(("GET", &path), None, deadline)?;
        match reply.status {
            200 => Ok(Some(Lease::parse(&reply.body, name)?)),
            404 => Ok(None),
            _ => Err(self.server.refused(&reply).into()),
        }
    }

    /// Puts an object in place of the one that was read. `None`: that is not there any more.
    fn replace(
        &mut self,
        lease: &Lease,
        ask: &Ask,
        deadline: Instant,
    ) -> Result<Option<Answer>, Failure> {
        let path = self.path(Some(&ask.name));
        let body = Some(lease.body());
        let reply = self.server.send(("PUT", &path), body, deadline)?;
        match (reply.status, ask.deed) {
            (200..=202, Deed::Release(_)) => Ok(Some(Answer::Released)),
            (200..=202, Deed::Look(_)) => {
                let token = Lease::parse(&reply.body, &ask.name)?.token();
                Ok(Some(Answer::Last { token }))
            }
            (200..=202, Deed::Acquire(_) | Deed::Renew(_)) => self.held(&reply.body, ask).map(Some),
            (404 | 409, _) => Ok(None),
            _ => Err(self.server.refused(&reply).into()),
        }
    }

    /// What the server says it stored is held, if it is for whoever asks.
    fn held(&mut self, body: &[u8], ask: &Ask) -> Result<Answer, Failure> {
        let lease = Lease::parse(body, &ask.name)?;
        if lease.holder() != Some(&*ask.owner) {
            return Err(Malformed("it was stored for somebody else").into());
        }
        self.observer.forget(&ask.name);
        let token = lease.token();
        Ok(Answer::Held { token })
    }
}

/// The object, if whoever asks still has it with that token.
fn kept(found: Option<Lease>, ask: &Ask, token: Token) -> Option<Lease> {
    let is_kept = |it: &Lease| it.holder() == Some(&*ask.owner) && it.token() == token;
    found.filter(is_kept)
}

/// Why it is not known what came of an ask.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Server(#[from] ServerError),
    #[error("the lease object cannot be used: {0}")]
    Malformed(#[from] Malformed),
    #[error("others changed the lease object {TRIES} times meanwhile")]
    Raced,
    #[error("leaseTransitions is as large as it can be")]
    Exhausted,
}

impl Store for KubernetesStore {
    fn handle(&mut self, ask: &Ask) -> Answer {
        let answer = check(ask).map(|()| self.answer(ask));
        match answer {
            Ok(Ok(answer)) | Err(answer) => answer,
            Ok(Err(error)) => failed(error),
        }
    }
}
