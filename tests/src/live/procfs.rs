//! What the kernel says about processes and threads.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Resource, getrlimit, prlimit, setrlimit};

/// What a process holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holdings {
    /// Resident memory, in bytes.
    pub resident_bytes: u64,
    /// Open descriptors.
    pub descriptors: usize,
}

impl Holdings {
    /// What process `pid` holds now.
    ///
    /// # Panics
    /// If there is no such process.
    pub fn of(pid: u32) -> Self {
        let process = PathBuf::from(format!("/proc/{pid}"));
        let descriptors = fs::read_dir(process.join("fd")).expect("the process is alive");
        Self {
            resident_bytes: status_field(&process, "VmRSS") * 1024,
            descriptors: descriptors.count(),
        }
    }
}

/// Lets this process, and those it starts from now on, hold as many descriptors as the host allows.
///
/// # Panics
/// If the kernel refuses what it said it would allow.
pub fn allow_descriptors() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("the soft limit may be as high as the hard one");
}

/// Lets process `pid` open no more descriptors, or as many as this one may.
///
/// # Panics
/// If there is no such process, or it is not this user's.
pub fn starve_of_descriptors(pid: u32, starve: bool) {
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let mut limit = getrlimit(Resource::Nofile);
    if starve {
        // Those that are open stay open.
        limit.current = Some(0);
    }
    prlimit(raw, Resource::Nofile, limit).expect("a process of this test");
}

/// How often the calling thread gave up its CPU to wait for something.
///
/// # Panics
/// If the kernel does not say.
pub fn voluntary_switches() -> u64 {
    status_field(Path::new("/proc/thread-self"), "voluntary_ctxt_switches")
}

/// The CPU time of the calling thread, in nanoseconds.
///
/// # Panics
/// If the kernel does not say.
pub fn thread_cpu_ns() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").expect("the thread is alive");
    let run = text
        .split_whitespace()
        .next()
        .and_then(|field| field.parse().ok());
    run.expect("schedstat begins with the run time")
}

fn status_field(of: &Path, name: &str) -> u64 {
    let text = fs::read_to_string(of.join("status")).expect("the thread or process is alive");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.unwrap_or_else(|| panic!("no {name} in {text}"))
}
