//! Lets glommio await an eventfd: its buffered files accept any descriptor and read it through the
//! executor's ring. The one unsafe call of the room is the transfer of the descriptor.

use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};

use glommio::io::BufferedFile;

/// The size of an eventfd's counter, and so of each read.
pub(super) const COUNTER_BYTES: usize = 8;

/// Takes ownership of `eventfd` as a file that can be read asynchronously.
pub(super) fn watchable(eventfd: OwnedFd) -> BufferedFile {
    // SAFETY: `into_raw_fd` gives up the only owner of an open descriptor, and the file becomes its
    // one owner and closes it.
    unsafe { BufferedFile::from_raw_fd(eventfd.into_raw_fd()) }
}
