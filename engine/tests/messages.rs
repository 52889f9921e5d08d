//! What `#[message]`, `#[wire]` and `protocol!` make of a definition.

use std::fmt::Debug;

use bytes::Bytes;
use ringmesh::message::{Message, MessageId, MessageType, ProtocolId, Reply, WireSafe};
use ringmesh::{Accepts, Actor, Cx, Handler, Msg, Protocol, message, protocol, wire};
use ringmesh_proto::archive::{access, deserialize, encode, measure};

#[wire(pod)]
#[derive(Clone, Copy, Debug, PartialEq)]
struct Position {
    x: f32,
    y: f32,
}

#[wire]
#[derive(Clone, Debug, PartialEq)]
enum Shape {
    Point,
    Circle { center: Position, radius: f32 },
    Polygon(Vec<Position>),
    Label(String, Option<char>),
}

/// Every shape a field can have.
#[message(id = "test.Everything", v = 3, reply = Empty)]
#[derive(Clone, Debug, PartialEq)]
struct Everything {
    integers: (u8, u16, u32, u64, u128),
    signed: (i8, i16, i32, i64, i128),
    floats: [f64; 2],
    flag: bool,
    letter: char,
    nothing: (),
    text: String,
    boxed: Box<str>,
    slice: Box<[Position]>,
    shapes: Vec<Shape>,
    maybe: Option<Box<[String]>>,
    bytes: Bytes,
    r#type: u8,
}

#[message(id = "test.Empty", v = 1)]
#[derive(Clone, Debug, PartialEq)]
struct Empty;

#[message(id = "test.Pair", v = 1, pod)]
#[derive(Clone, Debug, PartialEq)]
struct Pair(u64, Position);

#[message(id = "test.Command", v = 1, reply = Command)]
#[derive(Clone, Debug, PartialEq)]
enum Command {
    Start { name: String },
    Stop,
}

protocol! {
    /// All of them.
    TestApi = "test.api" { Everything, Empty, Pair, Command }
}

protocol! {
    /// For an actor nobody talks to.
    Silence = "test.silence" {}
}

fn everything() -> Everything {
    let position = Position { x: 1.0, y: -2.0 };
    Everything {
        integers: (1, 2, 3, 4, 5),
        signed: (-1, -2, -3, -4, -5),
        floats: [0.5, -0.25],
        flag: true,
        letter: 'ß',
        nothing: (),
        text: "a text that does not fit in the root".into(),
        boxed: "boxed".into(),
        slice: [position, position].into(),
        shapes: vec![
            Shape::Point,
            Shape::Circle {
                center: position,
                radius: 3.0,
            },
            Shape::Polygon(vec![position; 3]),
            Shape::Label("label out of line".into(), Some('l')),
        ],
        maybe: Some(["one".into(), "two out of line".into()].into()),
        bytes: Bytes::from_static(&[9; 20]),
        r#type: 7,
    }
}

fn encoded<M: Message>(message: &M) -> Vec<u8> {
    let mut bytes = vec![0; measure(message).expect("measurable")];
    encode(message, &mut bytes).expect("measured");
    bytes
}

fn round_trip<M: Message + PartialEq + Debug>(message: &M) {
    let bytes = encoded(message);
    assert_eq!(
        &deserialize::<M>(access::<M>(&bytes).expect("valid")),
        message
    );
}

#[test]
fn messages_round_trip() {
    round_trip(&everything());
    round_trip(&Empty);
    round_trip(&Pair(1, Position { x: 2.0, y: 3.0 }));
    round_trip(&Command::Start {
        name: "a name out of line".into(),
    });
    round_trip(&Command::Stop);
}

mod geometry {
    #[ringmesh::wire]
    #[derive(Clone, Debug, PartialEq)]
    pub(super) struct Located {
        pub(super) at: super::Position,
    }
}

#[message(id = "test.Located", v = 1)]
#[derive(Clone, Debug, PartialEq)]
struct Located {
    inner: Option<geometry::Located>,
}

#[test]
fn a_type_of_the_same_name_elsewhere_is_no_recursion() {
    let at = Position { x: 1.0, y: 2.0 };
    round_trip(&Located {
        inner: Some(geometry::Located { at }),
    });
}

#[test]
fn fields_are_read_in_place() {
    let bytes = encoded(&everything());
    let archived = access::<Everything>(&bytes).expect("valid");
    assert_eq!(archived.text, "a text that does not fit in the root");
    assert!(bytes.as_ptr_range().contains(&archived.text.as_ptr()));
    assert_eq!(archived.integers.3, 4);
    assert_eq!(archived.signed.4.to_native(), -5);
    assert!(archived.flag);
    assert_eq!(archived.letter.to_native(), 'ß');
    assert_eq!(archived.slice[1].y, -2.0);
    assert_eq!(archived.maybe.as_ref().expect("some")[1], "two out of line");
    assert_eq!(archived.bytes.as_slice(), [9; 20]);
    let ArchivedShape::Label(text, letter) = &archived.shapes[3] else {
        panic!("another shape: {:?}", archived.shapes[3]);
    };
    assert_eq!(
        (text.as_str(), letter.is_some()),
        ("label out of line", true)
    );
}

#[test]
fn a_message_knows_its_identity() {
    assert_eq!(Everything::NAME, "test.Everything");
    assert_eq!(
        Everything::TYPE,
        MessageType {
            id: MessageId::of("test.Everything"),
            version: 3,
            fingerprint: Everything::FINGERPRINT,
        }
    );
    assert_eq!(
        <<Everything as Message>::Reply as Reply>::MESSAGE_TYPE,
        Some(Empty::TYPE)
    );
    assert_eq!(<<Empty as Message>::Reply as Reply>::MESSAGE_TYPE, None);
}

#[test]
fn layouts_are_described() {
    const { assert!(Pair::POD && Pair::FLAT && !Everything::FLAT && !Command::POD) };
    const { assert!(Empty::POD && Empty::FLAT) };
    // Everything -> shapes -> a polygon's positions.
    assert_eq!((Everything::DEPTH, Shape::DEPTH, Command::DEPTH), (2, 1, 1));
    assert_eq!(measure(&Pair(0, Position { x: 0.0, y: 0.0 })), Ok(16));
    assert_eq!(measure(&Empty), Ok(0));
}

#[test]
fn a_protocol_lists_its_messages() {
    assert_eq!(
        (TestApi::NAME, TestApi::ID),
        ("test.api", ProtocolId::of("test.api"))
    );
    let names: Vec<_> = TestApi::MESSAGES
        .iter()
        .map(|message| message.name)
        .collect();
    assert_eq!(
        names,
        ["test.Everything", "test.Empty", "test.Pair", "test.Command"]
    );
    assert_eq!(TestApi::MESSAGES[2].message_type, Pair::TYPE);
    assert_eq!(<TestApi as Accepts<Command>>::INDEX, 3);
    assert!(Silence::MESSAGES.is_empty());
}

#[test]
fn an_actor_with_a_handler_for_each_message_speaks_the_protocol() {
    fn speaks<P: Protocol>(_: &impl Actor<Api = P>) -> &'static str {
        P::NAME
    }
    assert_eq!(speaks(&Tester), "test.api");
}

struct Tester;

impl Actor for Tester {
    type Api = TestApi;
}

impl Handler<Everything> for Tester {
    fn handle(&mut self, _: Msg<Everything>, _: &mut Cx<'_, Self>) -> Empty {
        Empty
    }
}

impl Handler<Empty> for Tester {
    fn handle(&mut self, _: Msg<Empty>, _: &mut Cx<'_, Self>) {}
}

impl Handler<Pair> for Tester {
    fn handle(&mut self, _: Msg<Pair>, _: &mut Cx<'_, Self>) {}
}

impl Handler<Command> for Tester {
    fn handle(&mut self, message: Msg<Command>, _: &mut Cx<'_, Self>) -> Command {
        message.deserialize()
    }
}

/// Types that differ from `Base` in one thing each, and their fingerprints.
mod variations {
    use super::{WireSafe, wire};

    macro_rules! struct_variations {
        ($($name:ident { $($field:ident: $ty:ty),* })*) => {
            $(
                #[wire]
                pub(super) struct $name { $($field: $ty),* }
            )*
            pub(super) const STRUCTS: &[(&str, u64)] =
                &[$((stringify!($name), $name::FINGERPRINT)),*];
        };
    }

    macro_rules! enum_variations {
        ($($name:ident { $($variant:ident $(($($ty:ty),*))?),* })*) => {
            $(
                #[wire]
                #[allow(dead_code)]
                pub(super) enum $name { $($variant $(($($ty),*))?),* }
            )*
            pub(super) const ENUMS: &[(&str, u64)] =
                &[$((stringify!($name), $name::FINGERPRINT)),*];
        };
    }

    struct_variations! {
        Base { first: u32, second: u32 }
        Renamed { first: u32, other: u32 }
        Reordered { second: u32, first: u32 }
        Retyped { first: u32, second: i32 }
        Widened { first: u32, second: u64 }
        Shortened { first: u32 }
        Extended { first: u32, second: u32, third: u8 }
        Wrapped { first: u32, second: Option<u32> }
        Nested { first: u32, second: Inner }
        Inner { value: u32 }
    }

    enum_variations! {
        EnumBase { A, B(u32) }
        EnumRenamed { A, C(u32) }
        EnumReordered { B(u32), A }
        EnumRetyped { A, B(f32) }
        EnumExtended { A, B(u32), C }
        EnumMoved { A(u32), B }
    }

    /// The same layout under another name of the type.
    #[wire]
    pub(super) struct Moved {
        first: u32,
        second: u32,
    }
}

#[test]
fn a_fingerprint_changes_with_every_part_of_the_layout() {
    for all in [variations::STRUCTS, variations::ENUMS] {
        for (index, (name, fingerprint)) in all.iter().enumerate() {
            for (other, other_fingerprint) in &all[..index] {
                assert_ne!(fingerprint, other_fingerprint, "{name} and {other}");
            }
        }
    }
    // But the name of the Rust type is its author's own business.
    assert_eq!(
        variations::Moved::FINGERPRINT,
        variations::Base::FINGERPRINT
    );
}
