//! Requests to a server, each bounded in time and in what comes back.

use std::fs::File;
use std::io::{self, Read as _};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use ureq::http::Uri;
use ureq::http::uri::Scheme;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, AsSendBody, Body, http};

use crate::credential::{Credential, CredentialError};
use crate::refusal::one_line;

/// The longest body that is read, in bytes. A lease has about a thousand.
const BODY_BYTES_MAX: usize = 256 << 10;

/// The longest file of certificates, in bytes.
const CA_BYTES_MAX: u64 = 1 << 20;

/// So much of what a server says about a failure is passed on, in bytes.
const MESSAGE_BYTES_MAX: usize = 200;

/// A connection serves the requests of one ask, which follow each other at once. One that rested
/// longer may have been closed by the server while it is used.
const IDLE_MAX: Duration = Duration::from_secs(1);

/// Why a server cannot be asked. Nothing was sent, unless it is [`ServerError::Exchange`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The address of the server is none.
    #[error(
        "the address of a server is \"https://HOST:PORT\", or \"http://HOST:PORT\" without TLS, \
         and nothing behind it"
    )]
    Address,
    /// A secret would be sent so that others can read it.
    #[error("a secret is not sent to another host without TLS: use an https address")]
    Plain,
    /// There is no secret.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// The certificates of those that a server is trusted by cannot be used.
    #[error("the certificates in {} cannot be used: {error}", path.display())]
    Certificates {
        /// Their file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The namespace is none.
    #[error("a namespace has 1 to 63 lower-case letters, digits and '-', and this has not")]
    Namespace,
    /// The prefix of keys is none.
    #[error("a prefix of keys has at most 128 letters, digits and \",-_./\", and this has not")]
    Prefix,
    /// The program runs in no pod, or one without an account.
    #[error("this is no pod of Kubernetes: {what}")]
    NoPod {
        /// What is missing.
        what: String,
    },
    /// The server was not reached, or its answer not read. It may have done what it was asked.
    #[error("{what}")]
    Exchange {
        /// Why.
        what: String,
    },
}

/// What is to be known of a server.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// `http://HOST:PORT` or `https://HOST:PORT`.
    pub(crate) url: String,
    /// Who vouches for it. `None`: the authorities that browsers trust.
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) credential: Credential,
    /// The header for that, and what stands in front of it there.
    pub(crate) header: (&'static str, &'static str),
}

/// A server that is asked now and then.
#[derive(Debug)]
pub(crate) struct Server {
    target: Target,
    agent: Agent,
    /// The certificates that the agent was made with. They are read for each request, and may be
    /// replaced while the program runs.
    ca: Option<Vec<u8>>,
}

/// An answer that was read whole.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn json(&self) -> Result<Value, ServerError> {
        serde_json::from_slice(&self.body).map_err(|_| exchange("the answer is no JSON"))
    }

    /// That the server did not do what it was asked, in its own words.
    pub(crate) fn refused(&self, secret: Option<&str>) -> ServerError {
        let json = serde_json::from_slice::<Value>(&self.body).ok();
        let message = json.as_ref().and_then(|it| it["message"].as_str());
        let message = message.map(str::to_owned);
        let message = message.unwrap_or_else(|| String::from_utf8_lossy(&self.body).into_owned());
        let is_shown = secret.is_none_or(|secret| !message.contains(secret));
        let message = if is_shown { message } else { String::new() };
        let message = one_line(&message, MESSAGE_BYTES_MAX);
        let text = format!("the server answered {} {message}", self.status);
        exchange(text.trim_end())
    }
}

fn exchange(what: impl Into<String>) -> ServerError {
    let what = what.into();
    ServerError::Exchange { what }
}

impl Server {
    /// Nothing is sent.
    ///
    /// # Errors
    /// All but [`ServerError::Exchange`].
    pub(crate) fn new(mut target: Target) -> Result<Self, ServerError> {
        target.url.truncate(target.url.trim_end_matches('/').len());
        check(&target)?;
        target.credential.read()?;
        let ca = read_ca(&target)?;
        let agent = agent(&target, ca.as_deref())?;
        Ok(Self { target, agent, ca })
    }

    /// Sends a request and reads the answer, all of it before the deadline.
    ///
    /// # Errors
    /// [`ServerError`]. An answer that says the server refused is none.
    pub(crate) fn send(
        &mut self,
        (method, path): (&str, &str),
        body: Option<Vec<u8>>,
        deadline: Instant,
    ) -> Result<Reply, ServerError> {
        self.renew_agent()?;
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(exchange("there was no time left to ask"));
        }
        let mut request = http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.target.url))
            .header("accept", "application/json");
        if let Some(secret) = self.target.credential.read()? {
            let (name, before) = self.target.header;
            request = request.header(name, format!("{before}{secret}"));
        }
        let answered = match body {
            Some(body) => {
                let request = request.header("content-type", "application/json");
                self.run(request.body(body), left)
            }
            None => self.run(request.body(()), left),
        };
        let mut response = answered?;
        let status = response.status().as_u16();
        let limited = response.body_mut().with_config();
        let body = limited.limit(BODY_BYTES_MAX as u64).read_to_vec();
        let body = body.map_err(|error| told(&error))?;
        Ok(Reply { status, body })
    }

    fn run<S: AsSendBody>(
        &self,
        request: http::Result<http::Request<S>>,
        left: Duration,
    ) -> Result<http::Response<Body>, ServerError> {
        // The error could name what is secret.
        let request = request.map_err(|_| exchange("the request is malformed"))?;
        let request = self.agent.configure_request(request);
        let request = request.timeout_global(Some(left)).build();
        self.agent.run(request).map_err(|error| told(&error))
    }

    /// What a server refused, in its own words, without the secret if it repeats that.
    pub(crate) fn refused(&self, reply: &Reply) -> ServerError {
        let secret = self.target.credential.read();
        reply.refused(secret.ok().flatten().as_deref())
    }

    fn renew_agent(&mut self) -> Result<(), ServerError> {
        let ca = read_ca(&self.target)?;
        if ca != self.ca {
            self.agent = agent(&self.target, ca.as_deref())?;
            self.ca = ca;
        }
        Ok(())
    }
}

/// What went wrong, for people.
fn told(error: &ureq::Error) -> ServerError {
    let why = match error {
        ureq::Error::Timeout(_) => "its time was over".to_owned(),
        error => one_line(&error.to_string(), MESSAGE_BYTES_MAX),
    };
    exchange(format!("no answer: {why}"))
}

/// Checks the address, and that no secret goes out in the open.
fn check(target: &Target) -> Result<(), ServerError> {
    let uri: Uri = target.url.parse().map_err(|_| ServerError::Address)?;
    let authority = uri.authority().ok_or(ServerError::Address)?;
    let is_secure = match uri.scheme() {
        Some(scheme) if *scheme == Scheme::HTTPS => true,
        Some(scheme) if *scheme == Scheme::HTTP => false,
        _ => return Err(ServerError::Address),
    };
    let is_bare = uri.path_and_query().is_none_or(|it| it.as_str() == "/");
    if !is_bare || authority.as_str().contains('@') || authority.host().is_empty() {
        return Err(ServerError::Address);
    }
    let host = authority.host();
    let ip = host.trim_matches(['[', ']']).parse::<IpAddr>();
    let is_here = host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback());
    if !is_secure && !is_here && !target.credential.is_none() {
        return Err(ServerError::Plain);
    }
    Ok(())
}

fn read_ca(target: &Target) -> Result<Option<Vec<u8>>, ServerError> {
    let Some(path) = &target.ca_file else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(CA_BYTES_MAX).read_to_end(&mut bytes));
    read.map_err(|error| unusable(target, error))?;
    Ok(Some(bytes))
}

fn unusable(target: &Target, error: io::Error) -> ServerError {
    let path = target.ca_file.clone().unwrap_or_default();
    ServerError::Certificates { path, error }
}

/// Follows no redirect and no proxy of the environment: a secret goes to that server alone.
fn agent(target: &Target, ca: Option<&[u8]>) -> Result<Agent, ServerError> {
    let roots = match ca {
        None => RootCerts::WebPki,
        Some(pem) => {
            let found = parse_pem(pem).filter_map(|item| match item {
                Ok(PemItem::Certificate(it)) => Some(it),
                _ => None,
            });
            let found: Vec<Certificate<'static>> = found.collect();
            if found.is_empty() {
                let error = io::Error::new(io::ErrorKind::InvalidData, "there are none");
                return Err(unusable(target, error));
            }
            RootCerts::Specific(Arc::new(found))
        }
    };
    let tls = TlsConfig::builder().root_certs(roots).build();
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .tls_config(tls)
        .user_agent("ringmesh-lease")
        .max_idle_age(IDLE_MAX)
        .build();
    Ok(Agent::new_with_config(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str, secret: Option<&str>) -> Target {
        Target {
            url: url.to_owned(),
            ca_file: None,
            credential: secret.map_or(Credential::None, |it| Credential::Text(it.into())),
            header: ("authorization", "Bearer "),
        }
    }

    #[test]
    fn an_address_is_a_scheme_and_a_host_and_no_more() {
        for good in [
            "http://a",
            "https://a:1",
            "https://[::1]:6443/",
            "http://10.0.0.1:80",
        ] {
            Server::new(target(good, None)).expect(good);
        }
        let bad = [
            "",
            "a",
            "a:1",
            "ftp://a",
            "http://",
            "http://u:p@a",
            "http://a/b",
            "http://a?b",
        ];
        for bad in bad {
            let error = Server::new(target(bad, None)).expect_err(bad);
            assert!(matches!(error, ServerError::Address), "{bad}: {error}");
        }
    }

    #[test]
    fn a_secret_goes_to_another_host_by_tls_alone() {
        let plain = |url| match Server::new(target(url, Some("hidden"))) {
            Err(error) => {
                assert!(!error.to_string().contains("hidden"), "{error}");
                matches!(error, ServerError::Plain)
            }
            Ok(_) => false,
        };
        assert!(plain("http://10.0.0.1:8500") && plain("http://127.consul"));
        for url in [
            "https://consul",
            "http://127.0.0.1:8500",
            "http://[::1]:1",
            "http://localhost",
        ] {
            assert!(!plain(url), "{url}");
        }
    }

    #[test]
    fn certificates_that_cannot_be_used_are_an_error_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let mut target = target("https://a", None);
        let path = directory.path().join("ca.crt");
        target.ca_file = Some(path.clone());
        for content in [None, Some(""), Some("no certificate")] {
            if let Some(content) = content {
                std::fs::write(&path, content).unwrap();
            }
            let made = Server::new(target.clone());
            assert!(
                matches!(made, Err(ServerError::Certificates { .. })),
                "{content:?}"
            );
        }
    }

    #[test]
    fn what_a_server_says_is_one_short_line_without_the_secret() {
        let reply = |body: &str| Reply {
            status: 403,
            body: body.into(),
        };
        let text = |body: &str| reply(body).refused(Some("hidden")).to_string();
        assert_eq!(text("no\r\n"), "the server answered 403 no");
        assert_eq!(text(r#"{"message":"no"}"#), "the server answered 403 no");
        assert_eq!(text("not with hidden"), "the server answered 403");
        assert!(text(&"x".repeat(1000)).len() < 2 * MESSAGE_BYTES_MAX);
    }
}
