//! The listener of the control port, and the threads of its clients.

use std::io::{self, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::{Requests, json, session};
use crate::core::Shared;
use crate::metrics::MetricsReader;

/// Clients at one time; more are told so, and closed.
const CLIENTS_MAX: usize = 8;

/// How long accepting pauses when the system has nothing left for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long the end of the port may take to reach its own listener.
const END_TIME_MAX: Duration = Duration::from_secs(1);

/// What the clients are told from.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) shared: Arc<Shared>,
    pub(crate) metrics: MetricsReader,
    pub(crate) requests: Arc<Requests>,
    /// The settings in force, as they are printed.
    pub(crate) configuration: String,
}

/// The open port. Dropping it ends its threads.
#[derive(Debug)]
pub(crate) struct ControlPort {
    address: SocketAddr,
    inner: Arc<Inner>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Inner {
    desk: Desk,
    is_over: AtomicBool,
    clients: Mutex<Vec<Client>>,
}

#[derive(Debug)]
struct Client {
    stream: Arc<TcpStream>,
    thread: JoinHandle<()>,
}

impl ControlPort {
    /// Listens at `at`, which is on the loopback.
    ///
    /// # Errors
    /// When that is taken, or there is no thread.
    pub(crate) fn open(at: SocketAddr, desk: Desk) -> io::Result<Self> {
        let listener = TcpListener::bind(at)?;
        let address = listener.local_addr()?;
        let inner = Arc::new(Inner {
            desk,
            is_over: AtomicBool::new(false),
            clients: Mutex::default(),
        });
        let acceptor = {
            let inner = Arc::clone(&inner);
            thread::Builder::new()
                .name("ringmesh-control".to_owned())
                .spawn(move || inner.accept(&listener))?
        };
        tracing::info!(%address, "control port open");
        Ok(Self {
            address,
            inner,
            acceptor: Some(acceptor),
        })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for ControlPort {
    fn drop(&mut self) {
        self.inner.is_over.store(true, Ordering::Release);
        // Whoever accepts is woken by one more connection, or by others that wait already.
        let woken = TcpStream::connect_timeout(&self.address, END_TIME_MAX);
        if let Some(acceptor) = self.acceptor.take() {
            // It does not panic; if it did, there is nobody to tell here.
            let _ = acceptor.join();
        }
        drop(woken);
        let clients = std::mem::take(&mut *self.inner.clients());
        for client in &clients {
            // Whoever reads or writes there stops. It fails where the client was faster.
            let _ = client.stream.shutdown(Shutdown::Both);
            client.thread.thread().unpark();
        }
        for client in clients {
            let _ = client.thread.join();
        }
    }
}

impl Inner {
    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        while !self.is_over.load(Ordering::Acquire) {
            match listener.accept() {
                Ok((stream, _)) => self.begin(stream),
                Err(error) => {
                    tracing::warn!(%error, "the control port cannot accept for now");
                    thread::park_timeout(ACCEPT_PAUSE);
                }
            }
        }
    }

    fn begin(self: &Arc<Self>, stream: TcpStream) {
        let mut clients = self.clients();
        clients.retain(|client| !client.thread.is_finished());
        if self.is_over.load(Ordering::Acquire) {
            return;
        }
        if clients.len() >= CLIENTS_MAX {
            let line = format!("{}\n", json::error("too many clients: try again"));
            // As much as the socket takes at once; a client that does not read it is closed too.
            let _ = stream.set_nonblocking(true);
            let _ = (&stream).write(line.as_bytes());
            return;
        }
        let stream = Arc::new(stream);
        let (inner, its_stream) = (Arc::clone(self), Arc::clone(&stream));
        let thread = thread::Builder::new()
            .name("ringmesh-control-client".to_owned())
            .spawn(move || {
                if let Err(error) = session::serve(&its_stream, &inner.desk) {
                    tracing::debug!(%error, "a client of the control port is gone");
                }
                // Its end is seen although the list still holds the socket.
                let _ = its_stream.shutdown(Shutdown::Both);
            });
        match thread {
            Ok(thread) => clients.push(Client { stream, thread }),
            Err(error) => tracing::warn!(%error, "no thread for a client of the control port"),
        }
    }

    fn clients(&self) -> MutexGuard<'_, Vec<Client>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
