use ringmesh::{message, protocol, wire};

#[message(v = 1)]
struct NoId;

#[message(id = "ui.NoVersion")]
struct NoVersion;

#[message(id = "ui.VersionZero", v = 0)]
struct VersionZero;

#[message(id = "", v = 1)]
struct EmptyId;

#[message(id = "ui with spaces", v = 1)]
struct Spaces;

#[message(id = "ui.Twice", id = "ui.Twice", v = 1)]
struct Twice;

#[message(id = "ui.Unknown", v = 1, answer = NoId)]
struct Unknown;

#[wire(id = "ui.Part")]
struct Part;

protocol! { #[protocol(facade = ringmesh)] OtherApi = "ui.other" {} }

fn main() {}
