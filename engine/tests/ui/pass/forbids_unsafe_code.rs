//! The macros' code passes the strictest lints of a user's crate.
#![forbid(unsafe_code)]
#![deny(warnings, missing_docs, unused, unreachable_pub, unused_qualifications)]
#![deny(
    elided_lifetimes_in_paths,
    rust_2018_idioms,
    missing_debug_implementations
)]

use ringmesh::{Actor, Cx, Handler, Msg, Upgrade, message, protocol, wire};

/// A part.
#[wire(pod)]
#[derive(Clone, Copy, Debug)]
pub struct Point {
    /// Across.
    pub x: f64,
    /// Up.
    pub y: f64,
}

/// A choice.
#[wire]
#[derive(Clone, Debug)]
pub enum Target {
    /// Nowhere.
    Nowhere,
    /// There.
    At(Point),
}

/// A request.
#[message(id = "ui.Move", v = 1, reply = Moved)]
#[derive(Clone, Debug)]
pub struct Move {
    /// Who.
    pub name: String,
    /// Where.
    pub to: Vec<Target>,
}

/// What the reply was once.
#[message(id = "ui.Moved", v = 1)]
#[derive(Clone, Copy, Debug)]
pub struct MovedV1;

impl Upgrade<MovedV1> for Moved {
    fn upgrade(_: MovedV1) -> Self {
        Self(true)
    }
}

/// A reply that nobody looks into.
#[message(id = "ui.Moved", v = 2, upgrades(MovedV1))]
#[derive(Clone, Copy, Debug)]
pub struct Moved(pub bool);

#[message(id = "ui.Private", v = 1)]
enum Private {
    Rename { name: String },
    Stop,
}

protocol! {
    /// Moves.
    pub MoverApi = "ui.mover" { Move, other::Elsewhere }
}

protocol! { PrivateApi = "ui.private" { Private } }

mod other {
    use ringmesh::message;

    #[message(id = "ui.Elsewhere", v = 1)]
    pub(crate) struct Elsewhere;
}

/// An actor.
#[derive(Debug)]
pub struct Mover;

impl Actor for Mover {
    type Api = MoverApi;
}

impl Handler<Move> for Mover {
    fn handle(&mut self, message: Msg<Move>, _: &mut Cx<'_, Self>) -> Moved {
        let moved = message.to.iter().any(|target| match target {
            ArchivedTarget::Nowhere => false,
            ArchivedTarget::At(point) => point.x != point.y.to_native(),
        });
        Moved(moved && !message.name.is_empty())
    }
}

impl Handler<other::Elsewhere> for Mover {
    fn handle(&mut self, _: Msg<other::Elsewhere>, _: &mut Cx<'_, Self>) {}
}

struct Hermit;

impl Actor for Hermit {
    type Api = PrivateApi;
}

impl Handler<Private> for Hermit {
    fn handle(&mut self, message: Msg<Private>, _: &mut Cx<'_, Self>) {
        match &*message {
            ArchivedPrivate::Rename { name } => assert!(!name.is_empty()),
            ArchivedPrivate::Stop => {}
        }
    }
}

fn main() {
    fn speaks<A: Actor>(_: A) {}
    speaks(Mover);
    speaks(Hermit);
    let _ = [
        Private::Stop,
        Private::Rename {
            name: String::new(),
        },
    ];
}
