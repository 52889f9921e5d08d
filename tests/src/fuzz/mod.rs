//! The fuzz targets: each takes any bytes, and panics when a promise is broken.
//!
//! One body serves the fuzzer, which looks for inputs, and the ordinary tests, which replay the
//! inputs that were kept.

mod archive;
mod cluster;
mod control;
mod decoder;
mod handshake;
mod preface;
mod verifier;

pub use archive::archive;
pub use cluster::cluster;
pub use control::control;
pub use decoder::decoder;
pub use handshake::handshake;
pub use preface::preface;
pub use verifier::verifier;

/// A fuzz target and the inputs it starts from.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, and the name of its folder in `tests/corpus`.
    pub name: &'static str,
    /// The body.
    pub run: fn(&[u8]),
    /// Makes the committed inputs, each with the name of its file.
    pub seeds: fn() -> Vec<(String, Vec<u8>)>,
}

/// Every target, by name.
pub const TARGETS: [Target; 7] = [
    Target {
        name: "archive",
        run: archive,
        seeds: archive::seeds,
    },
    Target {
        name: "cluster",
        run: cluster,
        seeds: cluster::seeds,
    },
    Target {
        name: "control",
        run: control,
        seeds: control::seeds,
    },
    Target {
        name: "decoder",
        run: decoder,
        seeds: decoder::seeds,
    },
    Target {
        name: "handshake",
        run: handshake,
        seeds: handshake::seeds,
    },
    Target {
        name: "preface",
        run: preface,
        seeds: preface::seeds,
    },
    Target {
        name: "verifier",
        run: verifier,
        seeds: verifier::seeds,
    },
];
