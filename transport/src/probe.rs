//! Whether this host lets Ringmesh run, asked before anything is started.
//!
//! The executor under the engine ends the process by itself when io_uring is refused, so
//! [`probe()`] asks for its needs too, and says what to do in one line.

use std::fs;
use std::io;

use io_uring::{IoUring, Probe, opcode};

use crate::descriptor;
use crate::ring;

/// Entries of the ring that is tried, as many as a core's ring has by default.
const ENTRIES: u32 = 1024;

/// Memory that the executor wants to be allowed to lock, in bytes.
const LOCKED_MEMORY_MIN: u64 = 512 * 1024;

/// What the host offers.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// The kernel's release, as `uname -r` says it; empty when it cannot be read.
    pub kernel_release: String,
    /// Memory this process may lock, in bytes; `None`: any amount.
    pub locked_memory_limit_bytes: Option<u64>,
    /// Whether a sleeping core can be kept out of the host's iowait figures (Linux 6.15).
    pub no_iowait: bool,
    /// Whether the kernel can send without copying.
    pub send_zero_copy: bool,
}

/// Why Ringmesh cannot run here. The text is the line for the operator.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// The administrator switched io_uring off.
    #[error(
        "io_uring is disabled on this host (kernel.io_uring_disabled = {value}): \
         set it to 0 with `sysctl kernel.io_uring_disabled=0`, \
         or for 1 add this user to the group in kernel.io_uring_group"
    )]
    Disabled {
        /// The switch: 1 for all but a group, 2 for everyone.
        value: u32,
    },
    /// A filter refuses the call, as container runtimes do.
    #[error(
        "io_uring is refused by a security policy ({source}): allow io_uring_setup, io_uring_enter \
         and io_uring_register in the seccomp profile of the container or service"
    )]
    Forbidden {
        /// `EPERM`, `EACCES` or `ENOSYS`.
        source: io::Error,
    },
    /// The kernel lacks what was asked for.
    #[error("the kernel {release} is too old: {missing} is missing; run Linux 6.1 or later")]
    KernelTooOld {
        /// `uname -r`.
        release: String,
        /// What is missing.
        missing: &'static str,
    },
    /// The ring's memory is over the limit of locked memory.
    #[error(
        "no memory for an io_uring instance under the memlock limit of {limit}: raise it with \
         `ulimit -l unlimited` or LimitMEMLOCK=infinity (4 MiB per core at least)"
    )]
    LockedMemoryExhausted {
        /// The limit.
        limit: MemoryLimit,
    },
    /// The limit of locked memory is below what the executor accepts.
    #[error(
        "the memlock limit of {limit} is below 512 KiB: raise it with `ulimit -l unlimited` or \
         LimitMEMLOCK=infinity (4 MiB per core at least)"
    )]
    LockedMemoryLimit {
        /// The limit.
        limit: MemoryLimit,
    },
    /// Something else.
    #[error("io_uring cannot be set up: {source}")]
    Other {
        /// The error of the call.
        source: io::Error,
    },
}

/// A limit of memory, written for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryLimit(pub Option<u64>);

impl std::fmt::Display for MemoryLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(bytes) => write!(f, "{} KiB", bytes / 1024),
            None => f.write_str("unlimited"),
        }
    }
}

/// Tries what a core needs, with a ring that is thrown away. To be called before the cores start.
///
/// # Errors
/// What is missing, and what to do.
pub fn probe() -> Result<Report, ProbeError> {
    let limit = descriptor::locked_memory_limit().map_err(|source| ProbeError::Other { source })?;
    if limit.is_some_and(|limit| limit < LOCKED_MEMORY_MIN) {
        return Err(ProbeError::LockedMemoryLimit {
            limit: MemoryLimit(limit),
        });
    }
    let kernel_release = kernel_release();
    let uring = ring::set_up(ENTRIES).map_err(|error| explain(error, limit, &kernel_release))?;
    let mut operations = Probe::new();
    let registered = uring.submitter().register_probe(&mut operations);
    registered.map_err(|source| ProbeError::Other { source })?;
    if let Some(missing) = missing(&uring, &operations) {
        return Err(ProbeError::KernelTooOld {
            release: kernel_release,
            missing,
        });
    }
    Ok(Report {
        kernel_release,
        locked_memory_limit_bytes: limit,
        no_iowait: uring.params().is_feature_no_iowait(),
        send_zero_copy: operations.is_supported(opcode::SendZc::CODE),
    })
}

/// What the failure of the set-up call means on this host.
fn explain(source: io::Error, limit: Option<u64>, release: &str) -> ProbeError {
    classify(source, disabled_switch(), limit, release)
}

fn classify(source: io::Error, switch: u32, limit: Option<u64>, release: &str) -> ProbeError {
    match source.raw_os_error() {
        Some(libc::EPERM) if switch > 0 => ProbeError::Disabled { value: switch },
        Some(libc::EPERM | libc::EACCES | libc::ENOSYS) => ProbeError::Forbidden { source },
        Some(libc::ENOMEM) => ProbeError::LockedMemoryExhausted {
            limit: MemoryLimit(limit),
        },
        // The flags were checked to be consistent, so the kernel does not know one of them.
        Some(libc::EINVAL) => ProbeError::KernelTooOld {
            release: release.to_owned(),
            missing: "io_uring's IORING_SETUP_DEFER_TASKRUN",
        },
        _ => ProbeError::Other { source },
    }
}

/// The first feature or operation, of this crate or of the executor, that the kernel lacks.
fn missing(uring: &IoUring, operations: &Probe) -> Option<&'static str> {
    let features = [
        (uring.params().is_feature_nodrop(), "IORING_FEAT_NODROP"),
        (uring.params().is_feature_ext_arg(), "IORING_FEAT_EXT_ARG"),
        (
            uring.params().is_feature_fast_poll(),
            "IORING_FEAT_FAST_POLL",
        ),
    ];
    let operation = |(code, name): (u8, _)| (operations.is_supported(code), name);
    let mut all = features
        .into_iter()
        .chain(OPERATIONS.into_iter().map(operation));
    all.find_map(|(is_there, name)| (!is_there).then_some(name))
}

/// What `kernel.io_uring_disabled` says; kernels before 6.6 have no such switch.
fn disabled_switch() -> u32 {
    let text = fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

fn kernel_release() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    text.trim().to_owned()
}

/// The operations of this crate and of the executor.
const OPERATIONS: [(u8, &str); 25] = [
    (opcode::AsyncCancel2::CODE, "IORING_OP_ASYNC_CANCEL"),
    (opcode::AcceptMulti::CODE, "IORING_OP_ACCEPT"),
    (opcode::Close::CODE, "IORING_OP_CLOSE"),
    (opcode::Connect::CODE, "IORING_OP_CONNECT"),
    (opcode::PollAdd::CODE, "IORING_OP_POLL_ADD"),
    (opcode::Recv::CODE, "IORING_OP_RECV"),
    (opcode::Send::CODE, "IORING_OP_SEND"),
    (opcode::SendMsg::CODE, "IORING_OP_SENDMSG"),
    (opcode::Timeout::CODE, "IORING_OP_TIMEOUT"),
    // Arrived in the same release as the multishot receive, which has no opcode of its own.
    (
        opcode::SendZc::CODE,
        "IORING_OP_SEND_ZC (and with it multishot receive)",
    ),
    (opcode::Fallocate::CODE, "IORING_OP_FALLOCATE"),
    (opcode::Fsync::CODE, "IORING_OP_FSYNC"),
    (opcode::LinkTimeout::CODE, "IORING_OP_LINK_TIMEOUT"),
    (opcode::Nop::CODE, "IORING_OP_NOP"),
    (opcode::OpenAt::CODE, "IORING_OP_OPENAT"),
    (opcode::PollRemove::CODE, "IORING_OP_POLL_REMOVE"),
    (opcode::Read::CODE, "IORING_OP_READ"),
    (opcode::ReadFixed::CODE, "IORING_OP_READ_FIXED"),
    (opcode::Readv::CODE, "IORING_OP_READV"),
    (opcode::RecvMsg::CODE, "IORING_OP_RECVMSG"),
    (opcode::Statx::CODE, "IORING_OP_STATX"),
    (opcode::TimeoutRemove::CODE, "IORING_OP_TIMEOUT_REMOVE"),
    (opcode::Write::CODE, "IORING_OP_WRITE"),
    (opcode::WriteFixed::CODE, "IORING_OP_WRITE_FIXED"),
    (opcode::Writev::CODE, "IORING_OP_WRITEV"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn line(errno: i32, switch: u32) -> String {
        let error = io::Error::from_raw_os_error(errno);
        classify(error, switch, Some(8 << 20), "5.15.0").to_string()
    }

    #[test]
    fn each_refusal_is_one_line_that_names_its_remedy() {
        let cases = [
            (libc::EPERM, 2, "kernel.io_uring_disabled = 2"),
            (libc::EPERM, 0, "seccomp profile"),
            (libc::ENOSYS, 0, "seccomp profile"),
            (libc::ENOMEM, 0, "memlock limit of 8192 KiB"),
            (libc::EINVAL, 0, "5.15.0 is too old"),
            (libc::EMFILE, 0, "io_uring cannot be set up"),
        ];
        for (errno, switch, expected) in cases {
            let line = line(errno, switch);
            assert!(line.contains(expected) && !line.contains('\n'), "{line}");
            assert!(!line.contains("  "), "{line}");
        }
    }

    #[test]
    fn a_host_that_runs_the_other_tests_passes() {
        let report = probe().unwrap();
        assert!(!report.kernel_release.is_empty());
    }
}
