//! A server is asked by TLS only if somebody vouches for it whom the settings name.
//!
//! The certificates in `certificates` were made for this: no other program trusts them.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use ringmesh_lease::{Answer, ConsulSettings, ConsulStore, Credential, Deed, Token};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::contract::{Node, name};

fn path(file: &str) -> PathBuf {
    let folder = env!("CARGO_MANIFEST_DIR");
    PathBuf::from(format!("{folder}/tests/stores/certificates/{file}"))
}

/// What headers a connection brought, if any came.
type Heard = Option<String>;

/// A server for so many connections, one after the other.
fn serve(connections: usize) -> (SocketAddr, JoinHandle<Vec<Heard>>) {
    let certificate = CertificateDer::from_pem_file(path("server.crt")).expect("there is one");
    let key = PrivateKeyDer::from_pem_file(path("server.key")).expect("there is one");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("they are known")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("they belong together");
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let address = listener.local_addr().expect("it listens");
    let config = Arc::new(config);
    let thread = thread::spawn(move || {
        let streams = listener.incoming().take(connections);
        let heard = streams.map(|stream| answer(&config, stream.expect("it came")));
        heard.collect()
    });
    (address, thread)
}

/// Answers one request, as a server that has no leader.
fn answer(config: &Arc<ServerConfig>, stream: TcpStream) -> Heard {
    let connection = ServerConnection::new(Arc::clone(config)).ok()?;
    let mut reader = BufReader::new(StreamOwned::new(connection, stream));
    let mut headers = String::new();
    while !headers.ends_with("\r\n\r\n") {
        if reader.read_line(&mut headers).ok()? == 0 {
            return None;
        }
    }
    let body = "No cluster leader";
    let head = format!("HTTP/1.1 500 No\r\ncontent-length: {}\r\n", body.len());
    let answer = format!("{head}connection: close\r\n\r\n{body}");
    reader.get_mut().write_all(answer.as_bytes()).ok()?;
    reader.get_mut().flush().ok()?;
    Some(headers)
}

/// What an ask comes to, and what the server was sent.
fn ask(host: &str, ca: Option<PathBuf>) -> (Box<str>, Heard) {
    let (address, thread) = serve(1);
    let mut settings = ConsulSettings::new(&format!("https://{host}:{}", address.port()));
    settings.ca_file = ca;
    settings.credential = Credential::Text("hidden".into());
    let store = ConsulStore::new(settings).expect("the settings are good");
    let answer = Node::new(store, "a").ask(&name("shop"), Deed::Acquire(Token(0)));
    let Answer::Failed { why } = answer else {
        panic!("the server has no leader: {answer:?}");
    };
    let mut heard = thread.join().expect("it did not panic");
    (why, heard.remove(0))
}

#[test]
fn a_server_that_somebody_named_vouches_for_is_asked() {
    for host in ["127.0.0.1", "localhost"] {
        let (why, headers) = ask(host, Some(path("ca.crt")));
        assert!(why.contains("500 No cluster leader"), "{why}");
        let headers = headers.expect("it was asked").to_lowercase();
        assert!(headers.contains("x-consul-token: hidden"), "{headers}");
    }
}

#[test]
fn a_server_that_nobody_named_vouches_for_is_sent_no_secret() {
    for ca in [Some(path("another.crt")), None] {
        let (why, headers) = ask("127.0.0.1", ca);
        assert!(why.starts_with("no answer: "), "{why}");
        assert_eq!(headers, None);
    }
}

#[test]
fn certificates_that_were_replaced_count_from_the_next_ask_on() {
    let directory = tempfile::tempdir().expect("there is room for a directory");
    let ca = directory.path().join("ca.crt");
    let (address, thread) = serve(2);
    let mut settings = ConsulSettings::new(&format!("https://{address}"));
    settings.ca_file = Some(ca.clone());
    fs::copy(path("another.crt"), &ca).expect("it can be copied");
    let store = ConsulStore::new(settings).expect("the settings are good");
    let mut node = Node::new(store, "a");
    for (from, expected) in [
        ("another.crt", "no answer"),
        ("ca.crt", "No cluster leader"),
    ] {
        fs::copy(path(from), &ca).expect("it can be copied");
        let Answer::Failed { why } = node.ask(&name("shop"), Deed::Acquire(Token(0))) else {
            panic!("the server has no leader");
        };
        assert!(why.contains(expected), "{why}");
    }
    let heard = thread.join().expect("it did not panic");
    assert!(matches!(heard.as_slice(), [None, Some(_)]), "{heard:?}");
}
