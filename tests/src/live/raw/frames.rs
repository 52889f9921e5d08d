//! Frames made by hand, right or wrong.

use ringmesh::message::Message;
use ringmesh::{Protocol, Ref};
use ringmesh_proto::archive;
use ringmesh_proto::frame::body::{DefineTarget, DefineType};
use ringmesh_proto::frame::{Extension, Head, encode};
use ringmesh_proto::kind::Kind;
use ringmesh_proto::limits::HEADER_BYTES;
use ringmesh_proto::link::Target;
use ringmesh_proto::message::MessageType;

/// The number that the tests give to the only recipient of a link.
pub const TARGET: u32 = 1;

/// The number that the tests give to the only message type of a link.
pub const TYPE: u16 = 1;

/// The recipient that a ref names, as the wire knows it.
///
/// # Panics
/// If the ref does not print its slot and generation.
pub fn target_of<P: Protocol>(actor: &Ref<P>) -> Target {
    let text = actor.to_string();
    let numbers = text
        .split_once("/slot/")
        .and_then(|(_, place)| place.split_once('#'));
    let parsed = numbers.and_then(|(slot, generation)| {
        Some(Target {
            slot: slot.parse().ok()?,
            generation: generation.parse().ok()?,
        })
    });
    parsed.unwrap_or_else(|| panic!("no slot and generation in `{text}`"))
}

/// A frame with a right header and checksum.
pub fn frame(head: &Head, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; head.payload_offset() + payload.len()];
    encode(&mut bytes, head, payload);
    bytes
}

/// Gives a number to a message type.
pub fn define_type(number: u16, message: MessageType) -> Vec<u8> {
    let mut bytes = vec![0; DefineType::FRAME_BYTES];
    DefineType { number, message }.encode(&mut bytes);
    bytes
}

/// Gives a number to a recipient.
pub fn define_target(number: u32, target: Target) -> Vec<u8> {
    let mut bytes = vec![0; DefineTarget::FRAME_BYTES];
    DefineTarget { number, target }.encode(&mut bytes);
    bytes
}

/// Both definitions that messages of type `M` to `target` need.
pub fn definitions<M: Message>(target: Target) -> Vec<u8> {
    let mut bytes = define_type(TYPE, M::TYPE);
    bytes.extend(define_target(TARGET, target));
    bytes
}

/// A message that wants no answer.
pub fn tell<M: Message>(message: &M) -> Vec<u8> {
    tell_bytes(&archived(message))
}

/// A message that wants no answer, whatever its payload is.
pub fn tell_bytes(payload: &[u8]) -> Vec<u8> {
    tell_as((TYPE, TARGET), payload)
}

/// The same with the numbers of another type and recipient.
pub fn tell_as((type_number, target_number): (u16, u32), payload: &[u8]) -> Vec<u8> {
    let head = Head {
        kind: Kind::Tell,
        type_number,
        target_number,
        extension: None,
    };
    frame(&head, payload)
}

/// A question with a deadline of ten seconds.
pub fn ask<M: Message>(message: &M, correlation: u64) -> Vec<u8> {
    ask_within(message, correlation, 10_000_000)
}

/// A question with a deadline of so many microseconds.
pub fn ask_within<M: Message>(message: &M, correlation: u64, remaining_us: u32) -> Vec<u8> {
    let head = Head {
        kind: Kind::Ask,
        type_number: TYPE,
        target_number: TARGET,
        extension: Some(Extension {
            correlation,
            remaining_us,
            code: 0,
        }),
    };
    frame(&head, &archived(message))
}

/// That the answer to a question is no longer wanted.
pub fn cancel(correlation: u64) -> Vec<u8> {
    let extension = Extension {
        correlation,
        ..Extension::default()
    };
    let head = Head {
        extension: Some(extension),
        ..Head::plain(Kind::Cancel)
    };
    frame(&head, &[])
}

/// The bytes of a message's archive.
///
/// # Panics
/// If it cannot be archived.
pub fn archived<M: Message>(message: &M) -> Vec<u8> {
    let mut bytes = vec![0; archive::measure(message).expect("the message can be archived")];
    archive::encode(message, &mut bytes).expect("it was measured");
    bytes
}

/// A header whose checksum is right for the bytes there are, whatever it declares.
pub fn header(declared_body_bytes: u32, kind: u8, flags: u8) -> Vec<u8> {
    let mut bytes = vec![0; HEADER_BYTES];
    bytes[..4].copy_from_slice(&declared_body_bytes.to_le_bytes());
    bytes[8] = kind;
    bytes[9] = flags;
    reseal(&mut bytes);
    bytes
}

/// Makes the checksum of a changed frame right again.
pub fn reseal(frame: &mut [u8]) {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&frame[..4]);
    hasher.update(&frame[8..]);
    frame[4..8].copy_from_slice(&hasher.finalize().to_le_bytes());
}
