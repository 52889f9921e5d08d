//! What the papers quote is what the programs print.

use std::fs;
use std::io;
use std::path::Path;

use ringmesh_transport::probe::{MemoryLimit, ProbeError};

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ stands in the root");
    let text = fs::read_to_string(root.join(path));
    text.unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn the_tuning_guide_quotes_each_refusal_of_the_probe() {
    let limit = |kib: u64| MemoryLimit(Some(kib << 10));
    let refusals = [
        ProbeError::Disabled { value: 2 },
        ProbeError::Forbidden {
            source: io::Error::from_raw_os_error(libc::EPERM),
        },
        ProbeError::KernelTooOld {
            release: "5.15.0".to_owned(),
            missing: "io_uring's IORING_SETUP_DEFER_TASKRUN",
        },
        ProbeError::LockedMemoryExhausted { limit: limit(8192) },
        ProbeError::LockedMemoryLimit { limit: limit(64) },
    ];
    let guide = read("tuning.md");
    for refusal in refusals {
        let line = refusal.to_string();
        assert!(
            guide.lines().any(|quoted| quoted == line),
            "tuning.md does not quote: {line}"
        );
    }
}
