//! What a node writes down: it takes a while, and what was not written when its process ends is
//! lost.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use ringmesh_cluster::membership::memory::Memory;
use ringmesh_proto::time::Instant;

use crate::random::Random;

/// What the nodes of a world wrote down where it outlives their processes.
pub type Disks = Rc<RefCell<BTreeMap<usize, Memory>>>;

/// So many of a thousand writes are slow.
const SLOW: u64 = 100;

/// What is to be written, with its number; `None`: what was written is to be erased.
type Note = Option<(u64, Memory)>;

/// The disk of a node, as one of its processes uses it: one write is under way at a time, and of
/// what waits for it the latest counts.
#[derive(Debug)]
pub(super) struct Disk {
    node: usize,
    disks: Disks,
    writing: Option<(Instant, Note)>,
    waiting: Option<Note>,
}

impl Disk {
    pub(super) fn new(node: usize, disks: Disks) -> Self {
        Self {
            node,
            disks,
            writing: None,
            waiting: None,
        }
    }

    pub(super) fn write(&mut self, now: Instant, random: &mut Random, note: Note) {
        if self.writing.is_some() {
            self.waiting = Some(note);
            return;
        }
        let most = match random.chance(SLOW) {
            true => Duration::from_millis(1500),
            false => Duration::from_millis(15),
        };
        let takes = random.span(Duration::from_micros(100), most);
        self.writing = Some((now + takes, note));
    }

    /// Ends a write that is due, and begins what waits for it. Says the number of what was written,
    /// if it has one.
    pub(super) fn take_written(&mut self, now: Instant, random: &mut Random) -> Option<u64> {
        let (_, note) = self.writing.take_if(|(due, _)| *due <= now)?;
        if let Some(next) = self.waiting.take() {
            self.write(now, random, next);
        }
        let mut disks = self.disks.borrow_mut();
        let Some((number, memory)) = note else {
            disks.remove(&self.node);
            return None;
        };
        disks.insert(self.node, memory);
        Some(number)
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.writing.as_ref().map(|(due, _)| *due)
    }
}

#[cfg(test)]
mod tests {
    use ringmesh_cluster::membership::ClusterId;

    use super::*;

    fn memory(cluster: u64) -> Memory {
        Memory {
            cluster: ClusterId(cluster),
            members: [].into(),
        }
    }

    #[test]
    fn what_is_not_written_in_time_is_lost_and_of_what_waits_the_latest_counts() {
        let disks = Disks::default();
        let mut random = Random::split(1, "disk", 0);
        let mut disk = Disk::new(3, Disks::clone(&disks));
        for number in 1..=3 {
            disk.write(Instant::ZERO, &mut random, Some((number, memory(number))));
        }
        assert_eq!(disk.take_written(Instant::ZERO, &mut random), None);
        assert!(disks.borrow().is_empty());
        let first = disk.poll_timeout().unwrap();
        assert_eq!(disk.take_written(first, &mut random), Some(1));
        assert_eq!(disks.borrow().get(&3), Some(&memory(1)));
        let last = disk.poll_timeout().unwrap();
        assert_eq!(disk.take_written(last, &mut random), Some(3));
        assert_eq!(disks.borrow().get(&3), Some(&memory(3)));
        disk.write(last, &mut random, None);
        drop(disk);
        assert_eq!(disks.borrow().get(&3), Some(&memory(3)), "it ended before");
    }
}
