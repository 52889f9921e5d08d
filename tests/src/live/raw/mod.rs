//! A peer that speaks the wire by hand over a blocking socket, as well or as badly as a test wants.

mod alive;
pub mod frames;

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use ringmesh::{Address, NodeId, Ref, ResolveError, Uid};
use ringmesh_proto::address::{ClusterHash, CoreId};
use ringmesh_proto::fingerprint::FORMAT_FINGERPRINT;
use ringmesh_proto::frame::body::{Accept, Grant, Hello, Offer, Refuse, RefuseReason};
use ringmesh_proto::frame::{Extension, Header, Parse, parse};
use ringmesh_proto::kind::Kind;
use ringmesh_proto::lane::Lane;
use ringmesh_proto::limits::{FRAME_BYTES_ORDINARY, PREFACE_BYTES, WINDOW_BYTES};
use ringmesh_proto::preface::{PROTOCOL_VERSION, Preface, Role};

use super::messages::EchoApi;
use super::node::{LiveNode, Pending};
use super::{SYSTEM, WAIT};

/// One end of a TCP connection, and who it says it is.
#[derive(Debug)]
pub struct RawPeer {
    stream: TcpStream,
    /// Received and not yet read as frames.
    received: Vec<u8>,
    /// Its address and uid.
    pub me: NodeId,
    /// The node at the other end.
    pub peer: NodeId,
    /// The number of the link that it proposes.
    pub link: u64,
    /// The lane that it is for.
    pub lane: Lane,
}

/// A frame that a node sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawFrame {
    /// Its header.
    pub header: Header,
    /// Its extension, where its kind has one.
    pub extension: Option<Extension>,
    /// The rest of its body.
    pub payload: Vec<u8>,
}

/// How a connection ended.
#[derive(Debug)]
pub struct Ending {
    /// The frames that came before the end.
    pub frames: Vec<RawFrame>,
    /// How long it took from the call on.
    pub after: Duration,
}

impl Ending {
    /// The one refusal that came.
    ///
    /// # Panics
    /// If there came none, or anything else.
    pub fn refusal(&self) -> RefuseReason {
        let [frame] = &self.frames[..] else {
            panic!("expected one refusal: {self:?}")
        };
        frame.refusal()
    }

    /// Whether the connection was closed without a word.
    pub fn is_silent(&self) -> bool {
        self.frames.is_empty()
    }
}

impl RawFrame {
    /// The reason, when the frame is a refusal.
    ///
    /// # Panics
    /// If it is not.
    pub fn refusal(&self) -> RefuseReason {
        assert_eq!(
            self.header.kind,
            Kind::Refuse,
            "expected a refusal: {self:?}"
        );
        self.body(Refuse::parse).reason
    }

    /// The body, as `read` reads it.
    ///
    /// # Panics
    /// If it cannot be read.
    pub fn body<T, E: std::fmt::Debug>(
        &self,
        read: impl FnOnce(&ringmesh_proto::frame::Frame<'_>) -> Result<T, E>,
    ) -> T {
        let frame = ringmesh_proto::frame::Frame {
            header: self.header,
            extension: self.extension,
            payload: &self.payload,
            payload_offset: self.header.kind.payload_offset(),
            wire_bytes: self.header.wire_bytes(),
        };
        read(&frame).expect("a node's own frames are right")
    }
}

impl RawPeer {
    /// Connects, and says nothing.
    ///
    /// # Panics
    /// If there is no connection.
    pub fn connect(to: &NodeId) -> Self {
        let place = (to.address.host(), to.address.port());
        let stream = TcpStream::connect(place).expect("the node listens");
        let port = stream
            .local_addr()
            .expect("a connected socket has an address")
            .port();
        Self::new(stream, port, to.clone())
    }

    /// Connects and makes itself known.
    ///
    /// # Panics
    /// If it is not accepted.
    pub fn link(to: &NodeId) -> Self {
        Self::link_on(to, Lane::Ordinary)
    }

    /// The same on a lane.
    ///
    /// # Panics
    /// If it is not accepted.
    pub fn link_on(to: &NodeId, lane: Lane) -> Self {
        let mut peer = Self::connect(to);
        peer.lane = lane;
        peer.send(&peer.opening());
        let accept = peer.accepted();
        assert_eq!(
            (&accept.from, accept.uid),
            (&to.address, to.uid),
            "another node answers"
        );
        peer
    }

    fn new(stream: TcpStream, port: u16, peer: NodeId) -> Self {
        stream.set_nodelay(true).expect("a socket option");
        stream
            .set_read_timeout(Some(WAIT))
            .expect("a socket option");
        stream
            .set_write_timeout(Some(WAIT))
            .expect("a socket option");
        let me = NodeId {
            address: Address::new(SYSTEM, "127.0.0.1", port).expect("an address"),
            uid: Uid::new(fastrand::u64(1..)).expect("not zero"),
        };
        Self {
            stream,
            received: Vec::new(),
            me,
            peer,
            link: fastrand::u64(1..),
            lane: Lane::Ordinary,
        }
    }

    /// The preface of a well-behaved node.
    pub fn preface(&self) -> Preface {
        Preface {
            version_min: PROTOCOL_VERSION,
            version_max: PROTOCOL_VERSION,
            role: Role::Node,
            lane: self.lane,
            sending_core: CoreId(0),
            wanted_core: Some(CoreId(0)),
            cluster: ClusterHash::of(SYSTEM),
            format_fingerprint: FORMAT_FINGERPRINT,
            uid: self.me.uid,
            expected_uid: None,
            nonce: NONCE,
        }
    }

    /// The hello of a well-behaved node.
    pub fn hello(&self) -> Hello {
        Hello {
            from: self.me.address.clone(),
            to: self.peer.address.clone(),
            offer: Offer {
                link: self.link,
                ..OFFER
            },
        }
    }

    /// Preface and hello, as bytes.
    pub fn opening(&self) -> Vec<u8> {
        let mut bytes = self.preface().encode().to_vec();
        self.hello().encode(&mut bytes);
        bytes
    }

    /// Reads the answer to the opening.
    ///
    /// # Panics
    /// If it is not an accept.
    pub fn accepted(&mut self) -> Accept {
        let frame = self.frame().expect("an answer to the opening");
        assert_eq!(
            frame.header.kind,
            Kind::Accept,
            "the opening was refused: {frame:?}"
        );
        let accept = frame.body(Accept::parse);
        assert_eq!(accept.nonce, NONCE, "the nonce of another opening");
        accept
    }

    /// Sends `bytes` at once.
    ///
    /// # Panics
    /// If the connection is broken.
    pub fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes)
            .expect("the connection takes the bytes");
    }

    /// Sends `bytes` as far as the connection takes them.
    ///
    /// # Errors
    /// The error of the connection.
    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The next frame; `None` when the node closed the connection.
    ///
    /// # Panics
    /// If nothing comes, or something that is no frame.
    pub fn frame(&mut self) -> Option<RawFrame> {
        self.frame_within(WAIT)
            .unwrap_or_else(|()| panic!("nothing came within {WAIT:?}"))
    }

    /// The next frame of this kind; others before it are dropped.
    ///
    /// # Panics
    /// If none comes.
    pub fn frame_of(&mut self, kind: Kind) -> RawFrame {
        loop {
            let frame = self
                .frame()
                .unwrap_or_else(|| panic!("closed before a frame of {kind:?}"));
            if frame.header.kind == kind {
                return frame;
            }
        }
    }

    /// The next answers on a fresh link, each with its number, kind and code. Grants them as they
    /// come, so that those that wait for credit follow.
    ///
    /// # Panics
    /// If fewer come.
    pub fn answers(&mut self, count: usize) -> Vec<(u64, Kind, u32)> {
        let mut received_to = 0;
        let mut answers = Vec::new();
        while answers.len() < count {
            let frame = self.frame().expect("the link lives");
            if frame.header.kind.is_positioned() {
                received_to += frame.header.wire_bytes() as u64;
            }
            let Some(extension) = frame.extension else {
                continue;
            };
            answers.push((extension.correlation, frame.header.kind, extension.code));
            let limit = received_to + u64::from(WINDOW_BYTES);
            let mut grant = vec![0; 32];
            Grant { received_to, limit }.encode(&mut grant);
            self.send(&grant);
        }
        answers
    }

    /// Reads until the node has taken over everything before this position.
    ///
    /// # Panics
    /// If it does not say so.
    pub fn granted(&mut self, received_to: u64) {
        while self.frame_of(Kind::Grant).body(Grant::parse).received_to < received_to {}
    }

    /// Reads until the node closes the connection.
    ///
    /// # Panics
    /// If it does not within [`WAIT`].
    pub fn ending(&mut self) -> Ending {
        let begin = Instant::now();
        let mut frames = Vec::new();
        while let Some(frame) = self.frame() {
            frames.push(frame);
        }
        Ending {
            frames,
            after: begin.elapsed(),
        }
    }

    /// Whether the connection is still open after `span`, in which nothing must come.
    ///
    /// # Panics
    /// If a frame comes.
    pub fn is_open_for(&mut self, span: Duration) -> bool {
        match self.frame_within(span) {
            Ok(Some(frame)) => panic!("expected silence: {frame:?}"),
            Ok(None) => false,
            Err(()) => true,
        }
    }

    /// The kind of the next frame, if one comes within `span`.
    ///
    /// # Panics
    /// If the node closed the connection.
    pub fn kind_within(&mut self, span: Duration) -> Option<Kind> {
        let frame = self.frame_within(span).ok()?;
        Some(frame.expect("the connection is open").header.kind)
    }

    /// Where the other end of the connection is.
    ///
    /// # Panics
    /// If the connection is broken.
    pub fn comes_from(&self) -> SocketAddr {
        self.stream.peer_addr().expect("the connection is open")
    }

    /// Ends its own direction; the node's may go on.
    ///
    /// # Panics
    /// If the connection is broken.
    pub fn finish_sending(&self) {
        self.stream
            .shutdown(Shutdown::Write)
            .expect("the connection is open");
    }

    /// The next frame, `Ok(None)` at the end, or an error when nothing came in time.
    fn frame_within(&mut self, span: Duration) -> Result<Option<RawFrame>, ()> {
        let deadline = Instant::now() + span;
        loop {
            if let Some(frame) = self.take_frame() {
                return Ok(Some(frame));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(());
            }
            self.stream
                .set_read_timeout(Some(left))
                .expect("a socket option");
            let mut bytes = [0; 16 << 10];
            match self.stream.read(&mut bytes) {
                Ok(0) => return Ok(None),
                Ok(count) => self.received.extend_from_slice(&bytes[..count]),
                Err(error) => match error.kind() {
                    io::ErrorKind::ConnectionReset => return Ok(None),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => return Err(()),
                    io::ErrorKind::Interrupted => {}
                    _ => panic!("reading from the node: {error}"),
                },
            }
        }
    }

    fn take_frame(&mut self) -> Option<RawFrame> {
        let parsed =
            parse(&self.received, self.lane.body_cap_default()).expect("a node sends frames");
        let Parse::Complete(frame) = parsed else {
            return None;
        };
        let raw = RawFrame {
            header: frame.header,
            extension: frame.extension,
            payload: frame.payload.to_vec(),
        };
        let end = frame.wire_bytes;
        self.received.drain(..end);
        Some(raw)
    }
}

/// A listener that a node dials.
#[derive(Debug)]
pub struct RawListener {
    listener: TcpListener,
    /// Where it listens.
    pub address: Address,
}

impl RawListener {
    /// Listens on a free port.
    ///
    /// # Panics
    /// If there is none.
    pub fn bind() -> Self {
        Self::bind_at("127.0.0.1")
    }

    /// The same at another address of this host.
    ///
    /// # Panics
    /// If the host has no such address.
    pub fn bind_at(host: &str) -> Self {
        let listener = TcpListener::bind((host, 0)).expect("a free port");
        let port = listener
            .local_addr()
            .expect("a bound socket has an address")
            .port();
        let address = Address::new(SYSTEM, host, port).expect("an address");
        Self { listener, address }
    }

    /// Has `client` look an actor up here, which makes it dial.
    pub fn sought_by(&self, client: &LiveNode) -> Pending<Result<(), ResolveError>> {
        let path = format!("{}/user/anyone", self.address);
        client.begin(move |node| async move {
            let found: Result<Ref<EchoApi>, _> = node.resolve(&path).await;
            found.map(|_| ())
        })
    }

    /// Takes the next connection and reads the dialler's preface and hello.
    ///
    /// # Panics
    /// If they are not right, or nobody dials within [`WAIT`].
    pub fn accept(&self) -> (RawPeer, Preface) {
        // The limit of time is the socket's, whatever is read from it.
        let listener = self.listener.try_clone().expect("a descriptor");
        TcpStream::from(OwnedFd::from(listener))
            .set_read_timeout(Some(WAIT))
            .expect("a socket option");
        let (mut stream, _) = self.listener.accept().expect("a dial");
        stream
            .set_read_timeout(Some(WAIT))
            .expect("a socket option");
        let mut preface = [0; PREFACE_BYTES];
        stream.read_exact(&mut preface).expect("a preface");
        let preface = Preface::parse(&preface).expect("a node's preface is right");
        let dialler = NodeId {
            address: self.address.clone(),
            uid: preface.uid,
        };
        let mut peer = RawPeer::new(stream, self.address.port(), dialler);
        peer.lane = preface.lane;
        let hello = peer.frame_of(Kind::Hello).body(Hello::parse);
        assert_eq!(hello.to, self.address, "the dialled address");
        peer.peer.address = hello.from;
        (peer, preface)
    }
}

impl RawPeer {
    /// The accept of a well-behaved node that was dialled with `preface`.
    pub fn accept_of(&self, preface: &Preface) -> Accept {
        Accept {
            from: self.me.address.clone(),
            to: self.peer.address.clone(),
            offer: Offer {
                link: preface.nonce,
                ..OFFER
            },
            uid: self.me.uid,
            nonce: preface.nonce,
        }
    }
}

/// What a well-behaved node offers.
pub const OFFER: Offer = Offer {
    body_cap: FRAME_BYTES_ORDINARY,
    limit: WINDOW_BYTES as u64,
    features: 0,
    link: NONCE,
    received_to: None,
    cores: 1,
    links_max: 64,
};

/// The nonce of every opening.
const NONCE: u64 = 0x6e6f_6e63_6500_0001;
