use ringmesh_proto::archive::encode;

use super::*;
use crate::message;
use ringmesh_transport::buffer::Chunk;

#[message(id = "test.Note", v = 1)]
#[derive(Debug, PartialEq)]
struct Note {
    number: u32,
    text: String,
}

/// A chunk with the note's archive in the middle, at an odd offset.
fn received(note: &Note) -> Chunk {
    let mut buffer = [0xA5; 128];
    let length = encode(note, &mut buffer[3..]).expect("fits");
    Chunk::copied_from(&buffer).slice(3..3 + length)
}

fn note() -> Note {
    Note {
        number: 7,
        text: "a text out of line".into(),
    }
}

#[test]
fn a_lease_reads_in_place_wherever_it_is_moved() {
    let chunk = received(&note());
    let text_at = chunk.as_ptr();
    let message = Msg::<Note>::new(chunk).expect("valid");
    let moved = Box::new(message);
    assert_eq!(moved.number, 7);
    assert_eq!(moved.text, "a text out of line");
    assert_eq!(moved.text.as_ptr(), text_at);
    assert_eq!(moved.bytes().as_ptr(), text_at);
    assert_eq!(moved.deserialize(), note());
}

#[test]
fn a_clone_keeps_the_bytes_when_the_first_lease_is_gone() {
    let first = Msg::<Note>::new(received(&note())).expect("valid");
    let second = first.clone();
    drop(first);
    assert_eq!(second.text, "a text out of line");
    assert_eq!(
        format!("{second:?}"),
        r#"ArchivedNote { number: 7, text: "a text out of line" }"#
    );
}

#[test]
fn bytes_that_are_no_message_are_refused() {
    let chunk = received(&note());
    let short = chunk.slice(0..chunk.len() - 1);
    let error = Msg::<Note>::new(short).expect_err("cut off");
    assert_eq!(error, AccessError::Invalid);
    let error = Msg::<Note>::new(chunk.slice(0..4)).expect_err("shorter than its root");
    assert_eq!(error, AccessError::Length { bytes: 4, root: 12 });
}

/// Compiles only while a lease is neither `Send` nor `Sync`: otherwise two impls apply.
#[test]
fn a_lease_stays_on_its_core() {
    trait NotSend<Choice> {
        fn holds() {}
    }
    impl<T> NotSend<()> for T {}
    impl<T: Send> NotSend<u8> for T {}

    trait NotSync<Choice> {
        fn holds() {}
    }
    impl<T> NotSync<()> for T {}
    impl<T: Sync> NotSync<u8> for T {}

    <Msg<Note> as NotSend<_>>::holds();
    <Msg<Note> as NotSync<_>>::holds();
}
