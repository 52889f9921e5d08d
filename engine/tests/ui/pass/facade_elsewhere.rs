//! A crate that re-exports the facade under another name.
#![allow(
    dead_code,
    missing_docs,
    unnameable_types,
    unreachable_pub,
    unused_qualifications
)]

mod platform {
    pub use ringmesh as messaging;
}

#[platform::messaging::message(id = "ui.Hello", v = 1, crate = crate::platform::messaging)]
struct Hello {
    parts: [Part; 2],
}

#[platform::messaging::wire(crate = crate::platform::messaging)]
struct Part {
    value: u8,
}

platform::messaging::protocol! {
    #[protocol(crate = crate::platform::messaging)]
    HelloApi = "ui.hello" { Hello }
}

fn main() {
    let hello = Hello {
        parts: [Part { value: 1 }, Part { value: 2 }],
    };
    assert_eq!(hello.parts[0].value + hello.parts[1].value, 3);
    let _ = HelloApi;
}
