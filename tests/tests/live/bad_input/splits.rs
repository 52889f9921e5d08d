//! Bytes arrive in whatever pieces the network makes of them.

use ringmesh::message::Message;
use ringmesh_proto::frame::{Extension, Head};
use ringmesh_proto::kind::Kind;
use ringmesh_proto::limits::PREFACE_BYTES;
use ringmesh_proto::link::Target;
use ringmesh_tests::live::bystander::Bystander;
use ringmesh_tests::live::messages::{Account, ArchivedAccount, ECHO, Recall, Record};
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::raw::{RawFrame, RawPeer, frames as make};
use ringmesh_tests::live::watched::place_of_sink;

/// A whole conversation in one direction: definitions, records of several lengths, and a question
/// about them.
struct Sequence {
    bytes: Vec<u8>,
    records: Vec<Record>,
}

const CORRELATION: u64 = 0x1234_5678_9abc_def0;

impl Sequence {
    fn to(sink: Target) -> Self {
        let records: Vec<_> = [0_usize, 1, 40]
            .into_iter()
            .zip(1..)
            .map(|(length, number)| Record {
                number,
                body: vec![0xa5; length].into(),
            })
            .collect();
        let mut bytes = make::definitions::<Record>(sink);
        for record in &records {
            bytes.extend(make::tell(record));
        }
        bytes.extend(make::define_type(2, Recall::TYPE));
        let head = Head {
            kind: Kind::Ask,
            type_number: 2,
            target_number: make::TARGET,
            extension: Some(Extension {
                correlation: CORRELATION,
                remaining_us: 10_000_000,
                code: 0,
            }),
        };
        bytes.extend(make::frame(&head, &make::archived(&Recall)));
        Self { bytes, records }
    }

    /// What the sink says after one more time.
    fn add_to(&self, account: &mut Account) {
        for record in &self.records {
            account.note_record(record.number, &record.body);
        }
    }
}

fn account_in(reply: &RawFrame) -> Account {
    assert_eq!(
        reply.extension.expect("a reply has one").correlation,
        CORRELATION
    );
    let archived: &ArchivedAccount =
        ringmesh_proto::archive::access::<Account>(&reply.payload).expect("a node's own archive");
    ringmesh_proto::archive::deserialize::<Account>(archived)
}

#[test]
fn every_split_of_a_frame_sequence_brings_the_same_messages() {
    // No bystander here: nothing is wrong, and its bytes would hide when a piece has arrived.
    let node = LiveNode::start_serving();
    let sequence = Sequence::to(place_of_sink(&node));
    let mut expected = Account::default();
    for split in 1..sequence.bytes.len() {
        let mut peer = RawPeer::link(node.id());
        let (first, second) = sequence.bytes.split_at(split);
        let before = node.counters().bytes_received;
        peer.send(first);
        let arrived = before + split as u64;
        node.until("the first piece", move |now| now.bytes_received >= arrived);
        peer.send(second);
        sequence.add_to(&mut expected);
        assert_eq!(
            account_in(&peer.frame_of(Kind::Reply)),
            expected,
            "split at {split}"
        );
    }
    assert_eq!(node.counters().closed_for_fault, 0);
}

#[test]
fn every_split_of_an_opening_with_frames_behind_it_is_served() {
    let node = LiveNode::start_serving();
    let sequence = Sequence::to(place_of_sink(&node));
    let mut expected = Account::default();
    let length = RawPeer::connect(node.id()).opening().len();
    for split in 1..length + 48 {
        let before = node.counters();
        let mut peer = RawPeer::connect(node.id());
        let bytes = [peer.opening(), sequence.bytes.clone()].concat();
        let (first, second) = bytes.split_at(split);
        peer.send(first);
        // The preface is received apart, and not counted before it is whole.
        let arrived = split.saturating_sub(PREFACE_BYTES) as u64;
        node.until("the first piece", move |now| {
            now.accepted > before.accepted && now.bytes_received >= before.bytes_received + arrived
        });
        peer.send(second);
        peer.accepted();
        sequence.add_to(&mut expected);
        assert_eq!(
            account_in(&peer.frame_of(Kind::Reply)),
            expected,
            "split at {split}"
        );
    }
    assert_eq!(node.counters().closed_for_fault, 0);
}

#[test]
fn an_opening_in_single_bytes_with_frames_behind_it_is_served() {
    let node = LiveNode::start_serving();
    let bystander = Bystander::of(&node.path(ECHO));
    let sequence = Sequence::to(place_of_sink(&node));
    let mut peer = RawPeer::connect(node.id());
    let opening = peer.opening();
    // Each byte is a segment of its own: the socket does not wait for more.
    for byte in &opening[..PREFACE_BYTES] {
        peer.send(&[*byte]);
    }
    peer.send(&[&opening[PREFACE_BYTES..], &sequence.bytes[..]].concat());
    peer.accepted();
    let mut expected = Account::default();
    sequence.add_to(&mut expected);
    assert_eq!(account_in(&peer.frame_of(Kind::Reply)), expected);

    // And every byte of everything by itself.
    let mut peer = RawPeer::connect(node.id());
    for byte in [peer.opening(), sequence.bytes.clone()].concat() {
        peer.send(&[byte]);
    }
    peer.accepted();
    sequence.add_to(&mut expected);
    assert_eq!(account_in(&peer.frame_of(Kind::Reply)), expected);
    bystander.saw_nothing();
}
