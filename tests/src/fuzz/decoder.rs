//! A stream of frames, in any split.

use std::fmt::Debug;

use ringmesh_proto::address::{Address, Uid};
use ringmesh_proto::frame::body::{
    Accept, BodyError, Bye, DefineTarget, DefineType, Grant, Hello, Notice, Offer, Ping, Pong,
    Refuse, Rest, System,
};
use ringmesh_proto::frame::{
    Assembler, Extension, Frame, FrameError, Head, Header, Parse, encode, parse,
};
use ringmesh_proto::kind::Kind;
use ringmesh_proto::limits::{
    EXTENSION_BYTES, FRAME_BYTES_BEFORE_ACCEPT, FRAME_BYTES_ORDINARY, HEADER_BYTES,
};

/// Bit of the first byte: the stream's checksums are made right, so that what is behind them is
/// reached.
const REPAIR: u8 = 1;
/// Bit of the first byte: the cap is that of a connection before it is accepted.
const BEFORE_ACCEPT: u8 = 2;

/// What a decoder made of a stream: its frames, and the error that ended it.
#[derive(Debug, Default, PartialEq)]
struct Decoded {
    frames: Vec<Owned>,
    error: Option<FrameError>,
}

/// A frame that outlives its bytes.
#[derive(Debug, PartialEq)]
struct Owned {
    header: Header,
    extension: Option<Extension>,
    payload: Vec<u8>,
}

/// The first byte holds options, the second and third how the rest, a stream, is split.
///
/// # Panics
/// When the split changes what is decoded, when more memory is taken than bytes arrived, or when a
/// body that was accepted does not survive another round.
pub fn decoder(bytes: &[u8]) {
    let Some((&[options, first, second], stream)) = bytes.split_first_chunk() else {
        return;
    };
    let mut stream = stream.to_vec();
    if options & REPAIR != 0 {
        repair(&mut stream);
    }
    let cap = match options & BEFORE_ACCEPT {
        0 => FRAME_BYTES_ORDINARY,
        _ => FRAME_BYTES_BEFORE_ACCEPT,
    };
    let whole = decode_whole(&stream, cap);
    let split = decode_split(&stream, cap, u32::from_le_bytes([first, second, 0, 0]));
    assert_eq!(whole, split);
}

/// Decodes a stream that lies in one piece.
fn decode_whole(stream: &[u8], cap: u32) -> Decoded {
    let mut decoded = Decoded::default();
    let mut rest = stream;
    loop {
        match parse(rest, cap) {
            Ok(Parse::Complete(frame)) => {
                assert_eq!(frame.payload, &rest[frame.payload_offset..frame.wire_bytes]);
                check_body(&frame);
                decoded.frames.push(own(&frame));
                rest = &rest[frame.wire_bytes..];
            }
            Ok(Parse::Incomplete { needed }) => {
                check_needed(needed, rest.len(), cap);
                return decoded;
            }
            Err(error) => {
                decoded.error = Some(error);
                return decoded;
            }
        }
    }
}

/// Decodes a stream that arrives in pieces, as a connection does: in place where a frame lies in
/// one piece, through the assembler where it does not.
fn decode_split(stream: &[u8], cap: u32, seed: u32) -> Decoded {
    let mut decoded = Decoded::default();
    let mut assembler = Assembler::default();
    let mut sizes = Sizes(seed);
    let mut rest = stream;
    while !rest.is_empty() {
        let (mut piece, behind) = rest.split_at(sizes.next().min(rest.len()));
        rest = behind;
        while !piece.is_empty() {
            match take(&mut piece, &mut assembler, cap) {
                Ok(frame) => decoded.frames.extend(frame),
                Err(error) => {
                    decoded.error = Some(error);
                    return decoded;
                }
            }
        }
        assert!(assembler.len() <= HEADER_BYTES + cap as usize);
    }
    decoded
}

/// Takes one frame, or all that is left of the piece.
fn take(
    piece: &mut &[u8],
    assembler: &mut Assembler,
    cap: u32,
) -> Result<Option<Owned>, FrameError> {
    if assembler.is_empty() {
        match parse(piece, cap)? {
            Parse::Complete(frame) => {
                *piece = &piece[frame.wire_bytes..];
                return Ok(Some(own(&frame)));
            }
            Parse::Incomplete { needed } => check_needed(needed, piece.len(), cap),
        }
    }
    let before = assembler.len();
    let taken = assembler.push(piece, cap)?;
    assert_eq!(assembler.len(), before + taken, "bytes from nowhere");
    *piece = &piece[taken..];
    let frame = match assembler.parse(cap)? {
        Parse::Complete(frame) => own(&frame),
        Parse::Incomplete { needed } => {
            check_needed(needed, assembler.len(), cap);
            assert!(piece.is_empty(), "an unfinished frame left bytes behind");
            return Ok(None);
        }
    };
    assembler.clear();
    Ok(Some(frame))
}

/// A decoder that waits asks for more than is there, and for no more than is allowed.
fn check_needed(needed: usize, there: usize, cap: u32) {
    assert!(
        needed > there && needed <= HEADER_BYTES + cap as usize,
        "{needed} of {there}"
    );
}

fn own(frame: &Frame<'_>) -> Owned {
    let Frame {
        header,
        extension,
        payload,
        ..
    } = *frame;
    Owned {
        header,
        extension,
        payload: payload.to_vec(),
    }
}

/// Reads the body of a frame of the engine itself. What is accepted means the same when it is
/// written again.
fn check_body(frame: &Frame<'_>) {
    match frame.header.kind {
        Kind::DefineType => fixed(DefineType::parse, DefineType::encode, frame),
        Kind::DefineTarget => fixed(DefineTarget::parse, DefineTarget::encode, frame),
        Kind::Grant => fixed(Grant::parse, Grant::encode, frame),
        Kind::Busy | Kind::Ready => fixed(Notice::parse, Notice::encode, frame),
        Kind::Ping => fixed(Ping::parse, Ping::encode, frame),
        Kind::Pong => fixed(Pong::parse, Pong::encode, frame),
        Kind::Bye => fixed(Bye::parse, Bye::encode, frame),
        Kind::Rest => fixed(Rest::parse, Rest::encode, frame),
        Kind::System => fixed(System::parse, System::encode, frame),
        Kind::Hello => survives(Hello::parse, Hello::encode, frame),
        Kind::Accept => survives(Accept::parse, Accept::encode, frame),
        Kind::Refuse => survives(Refuse::parse, Refuse::encode, frame),
        Kind::Tell | Kind::Ask | Kind::Reply | Kind::Error | Kind::Cancel | Kind::Cluster => {}
    }
}

type ParseBody<T> = fn(&Frame<'_>) -> Result<T, BodyError>;

fn fixed<T: Debug + PartialEq>(
    parse: ParseBody<T>,
    encode: fn(&T, &mut [u8]) -> usize,
    frame: &Frame<'_>,
) {
    let append = |value: &T, into: &mut Vec<u8>| {
        into.resize(frame.wire_bytes, 0);
        assert_eq!(encode(value, into), frame.wire_bytes);
    };
    survives(parse, append, frame);
}

fn survives<T: Debug + PartialEq>(
    parse_body: ParseBody<T>,
    append: impl FnOnce(&T, &mut Vec<u8>),
    frame: &Frame<'_>,
) {
    let Ok(value) = parse_body(frame) else { return };
    let mut again = Vec::new();
    append(&value, &mut again);
    match parse(&again, FRAME_BYTES_BEFORE_ACCEPT) {
        Ok(Parse::Complete(frame)) => assert_eq!(parse_body(&frame), Ok(value)),
        other => panic!("{value:?} was written as {other:?}"),
    }
}

/// Makes the checksum of every frame right, as far as the declared lengths go.
fn repair(stream: &mut [u8]) {
    let mut rest = stream;
    while let Some((header, behind)) = rest.split_first_chunk_mut::<HEADER_BYTES>() {
        let [a, b, c, d, ..] = *header;
        let body_bytes = u32::from_le_bytes([a, b, c, d]) as usize;
        if body_bytes > behind.len() {
            return;
        }
        let (body, behind) = behind.split_at_mut(body_bytes);
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&header[..4]);
        hasher.update(&header[8..]);
        hasher.update(body);
        header[4..8].copy_from_slice(&hasher.finalize().to_le_bytes());
        rest = behind;
    }
}

/// The sizes of pieces: mostly small, now and then a long one. Never 0.
struct Sizes(u32);

impl Sizes {
    fn next(&mut self) -> usize {
        // xorshift32 (Marsaglia 2003), kept off its fixed point.
        self.0 = self.0.max(1);
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        let longest = [1, 3, 17, 40, 300, 70_000][self.0 as usize % 6];
        1 + (self.0 >> 8) as usize % longest
    }
}

/// A frame of each kind, and a stream of all of them.
pub(super) fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut seeds = Vec::new();
    let mut stream = Vec::new();
    for kind in Kind::ALL {
        let frame = frame_of(kind);
        stream.extend_from_slice(&frame);
        seeds.push((format!("{kind:?}").to_lowercase(), with_options(0, &frame)));
    }
    seeds.push(("stream".to_owned(), with_options(0, &stream)));
    seeds.push(("stream-repaired".to_owned(), with_options(REPAIR, &stream)));
    seeds.push((
        "stream-before-accept".to_owned(),
        with_options(BEFORE_ACCEPT, &stream),
    ));
    let cut = &stream[..stream.len() - 1];
    seeds.push(("stream-cut".to_owned(), with_options(REPAIR, cut)));
    let mut too_long = vec![0; HEADER_BYTES];
    too_long[..4].copy_from_slice(&(FRAME_BYTES_ORDINARY + 1).to_le_bytes());
    seeds.push(("declared-over-cap".to_owned(), with_options(0, &too_long)));
    seeds
}

fn with_options(options: u8, stream: &[u8]) -> Vec<u8> {
    [&[options, 0x5A, 0xC3], stream].concat()
}

fn frame_of(kind: Kind) -> Vec<u8> {
    let mut frame = Vec::new();
    match kind {
        Kind::Hello => Hello {
            from: address("a", 1),
            to: address("::1", 2),
            offer: OFFER,
        }
        .encode(&mut frame),
        Kind::Accept => Accept {
            from: address("::1", 2),
            to: address("a", 1),
            offer: OFFER,
            uid: Uid::new(7).expect("7 is a uid"),
            nonce: 8,
        }
        .encode(&mut frame),
        _ => {
            let payload = payload_of(kind);
            frame.resize(HEADER_BYTES + EXTENSION_BYTES + payload.len(), 0);
            let bytes = encode(&mut frame, &head_of(kind), &payload);
            frame.truncate(bytes);
        }
    }
    frame
}

const OFFER: Offer = Offer {
    body_cap: FRAME_BYTES_ORDINARY,
    limit: 1 << 20,
    features: 1,
    link: 7,
    received_to: None,
    cores: 1,
    links_max: 64,
};

fn address(host: &str, port: u16) -> Address {
    Address::new("demo", host, port).expect("a seed's address is valid")
}

fn head_of(kind: Kind) -> Head {
    let has_type = matches!(
        kind,
        Kind::Tell | Kind::Ask | Kind::Reply | Kind::DefineType
    );
    let has_target = matches!(
        kind,
        Kind::Tell | Kind::Ask | Kind::DefineTarget | Kind::Busy | Kind::Ready
    );
    let extension = Extension {
        correlation: 5,
        remaining_us: 1_000_000,
        code: 2,
    };
    Head {
        kind,
        type_number: u16::from(has_type),
        target_number: u32::from(has_target),
        extension: kind.has_extension().then_some(extension),
    }
}

/// A payload that a frame of `kind` may have; not for hello and accept.
fn payload_of(kind: Kind) -> Vec<u8> {
    match kind {
        Kind::Tell | Kind::Ask | Kind::Reply | Kind::Cluster => (0..48).collect(),
        Kind::DefineType => (1..21).collect(),
        Kind::DefineTarget => (1..13).collect(),
        Kind::Grant => (1..17).collect(),
        Kind::Ping | Kind::Pong => (1..9).collect(),
        Kind::Refuse => b"\x01\x00not this cluster".to_vec(),
        Kind::Bye => vec![1, 0],
        // An actor that is watched no more.
        Kind::System => (2..19).collect(),
        Kind::Error
        | Kind::Cancel
        | Kind::Busy
        | Kind::Ready
        | Kind::Hello
        | Kind::Accept
        | Kind::Rest => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> Vec<u8> {
        Kind::ALL.into_iter().flat_map(frame_of).collect()
    }

    #[test]
    fn the_seeds_are_frames_of_every_kind_with_bodies_that_are_accepted() {
        let decoded = decode_whole(&stream(), FRAME_BYTES_ORDINARY);
        let kinds: Vec<_> = decoded
            .frames
            .iter()
            .map(|frame| frame.header.kind)
            .collect();
        assert_eq!((kinds, decoded.error), (Kind::ALL.to_vec(), None));
        let hello = frame_of(Kind::Hello);
        let Ok(Parse::Complete(frame)) = parse(&hello, FRAME_BYTES_ORDINARY) else {
            panic!("a seed is a frame");
        };
        assert_eq!(Hello::parse(&frame).map(|hello| hello.offer), Ok(OFFER));
    }

    #[test]
    fn a_repaired_stream_gets_past_its_checksums() {
        let mut damaged = stream();
        damaged[HEADER_BYTES] ^= 1;
        let broken = decode_whole(&damaged, FRAME_BYTES_ORDINARY);
        assert_eq!(
            (broken.frames.len(), broken.error),
            (0, Some(FrameError::Checksum))
        );
        repair(&mut damaged);
        let repaired = decode_whole(&damaged, FRAME_BYTES_ORDINARY);
        assert_eq!(
            (repaired.frames.len(), repaired.error),
            (Kind::ALL.len(), None)
        );
    }

    #[test]
    fn the_pieces_of_a_split_vary() {
        let mut sizes = Sizes(1);
        let drawn: Vec<usize> = (0..100).map(|_| sizes.next()).collect();
        assert!(
            drawn.contains(&1) && drawn.iter().any(|size| *size > 1000),
            "{drawn:?}"
        );
        assert!(!drawn.contains(&0));
    }
}
