//! The suite on a directory, and what only a directory can do wrong.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use ringmesh_lease::{
    Answer, Clock, Deed, DirectoryError, DirectoryStore, LeaseName, ManualClock, Token,
};
use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

use crate::contract::{Node, Stage, TIME_TO_LIVE, contract, name};

struct Directory {
    directory: TempDir,
    clock: Arc<ManualClock>,
}

fn stage() -> Directory {
    let directory = tempfile::tempdir().expect("there is room for a directory");
    let clock = Arc::default();
    Directory { directory, clock }
}

impl Directory {
    fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }
}

impl Stage for Directory {
    type Store = DirectoryStore;

    fn store(&self) -> DirectoryStore {
        let store = DirectoryStore::open(self.directory.path()).expect("it is there");
        store.with_clock(Arc::clone(&self.clock) as Arc<dyn Clock>)
    }

    fn pass(&self, time: Duration) {
        self.clock.pass(time);
    }

    fn delete(&self, name: &LeaseName) -> bool {
        let modified = |path: &Path| {
            let metadata = fs::metadata(path).expect("it is there");
            metadata.modified().expect("it has a time")
        };
        let record = self.path(&format!("{name}.lease"));
        let (last, other) = (modified(&record), self.path("other"));
        fs::remove_file(record).expect("there is a record");
        // Nobody deletes it, and has it made anew, within one tick of the file system's clock.
        let is_later = || {
            fs::write(&other, "").expect("it can be written");
            modified(&other) >= last + Duration::from_millis(1)
        };
        while !is_later() {
            thread::yield_now();
        }
        true
    }
}

contract!(stage());

fn why(answer: Answer) -> Box<str> {
    match answer {
        Answer::Failed { why } => why,
        other => panic!("it did not fail: {other:?}"),
    }
}

#[test]
fn what_is_damaged_foreign_or_empty_fails_and_is_never_taken_over() {
    let (stage, shop) = (stage(), name("shop"));
    let (mut a, mut b) = (Node::new(stage.store(), "a"), Node::new(stage.store(), "b"));
    let token = a.has(&shop);
    let path = stage.path("shop.lease");
    let whole = fs::read_to_string(&path).expect("there is a record");
    for text in [
        "",
        "ringmesh",
        &whole[..whole.len() - 1],
        &whole.replace("held yes", "held no "),
    ] {
        fs::write(&path, text).expect("it can be written");
        for _ in 0..2 {
            assert!(why(b.ask(&shop, Deed::Acquire(Token(0)))).contains("damaged"));
            stage.pass(2 * TIME_TO_LIVE);
        }
        assert!(why(a.ask(&shop, Deed::Renew(token))).contains("damaged"));
        assert!(why(a.ask(&shop, Deed::Release(token))).contains("damaged"));
        assert_eq!(fs::read_to_string(&path).expect("it is there"), text);
    }
    fs::write(&path, &whole).expect("it can be written");
    assert_eq!(a.ask(&shop, Deed::Renew(token)), Answer::Held { token });
    // A record of another lease, copied by hand.
    fs::copy(&path, stage.path("ship.lease")).expect("it can be copied");
    assert!(why(b.ask(&name("ship"), Deed::Acquire(Token(0)))).contains("another lease"));
}

#[test]
fn a_lock_that_others_have_fails_an_ask_in_time() {
    let (stage, shop) = (stage(), name("shop"));
    let patience = Duration::from_millis(20);
    let mut a = Node::new(stage.store().with_patience(patience), "a");
    let token = a.has(&shop);
    let lock = fs::File::open(stage.path("shop.lock")).expect("there is a lock");
    flock(&lock, FlockOperation::LockExclusive).expect("nobody has it");
    let before = Instant::now();
    assert!(why(a.ask(&shop, Deed::Renew(token))).contains("was locked by others for 20 ms"));
    assert!(before.elapsed() >= patience);
    drop(lock);
    assert_eq!(a.ask(&shop, Deed::Renew(token)), Answer::Held { token });
}

#[test]
fn a_directory_that_is_missing_is_not_made() {
    let stage = stage();
    let path = stage.path("missing");
    let refused = DirectoryStore::open(&path);
    assert!(
        matches!(refused, Err(DirectoryError::Io { .. })),
        "{refused:?}"
    );
    fs::create_dir(&path).expect("it can be made");
    let mut node = Node::new(DirectoryStore::open(&path).expect("it is there"), "a");
    let token = node.has(&name("shop"));
    fs::remove_dir_all(&path).expect("it can be removed");
    why(node.ask(&name("shop"), Deed::Renew(token)));
    assert!(!path.exists());
}

#[test]
fn what_a_crash_left_half_written_is_not_looked_at() {
    let (stage, shop) = (stage(), name("shop"));
    let mut a = Node::new(stage.store(), "a");
    let token = a.has(&shop);
    fs::write(stage.path("shop.lease.new"), "ringmesh le").expect("it can be written");
    assert_eq!(a.ask(&shop, Deed::Renew(token)), Answer::Held { token });
    assert!(!stage.path("shop.lease.new").exists());
}

#[test]
fn the_last_token_is_the_last() {
    let (stage, shop) = (stage(), name("shop"));
    let mut a = Node::new(stage.store(), "a");
    a.has(&shop);
    let path = stage.path("shop.lease");
    let text = fs::read_to_string(&path).expect("there is a record");
    let (before, after) = text.split_once("token ").expect("it has a token");
    let (_, after) = after.split_once('\n').expect("it has lines");
    let covered = format!("{before}token {}\n{after}", u64::MAX);
    let (covered, _) = covered.rsplit_once("checksum").expect("it has a checksum");
    let sum = ringmesh_proto::checksum::of_bytes(covered.as_bytes());
    fs::write(&path, format!("{covered}checksum {sum:08x}\n")).expect("it can be written");
    let token = Token(u64::MAX);
    assert_eq!(a.ask(&shop, Deed::Renew(token)), Answer::Held { token });
    assert_eq!(a.ask(&shop, Deed::Release(token)), Answer::Released);
    assert!(why(a.ask(&shop, Deed::Acquire(Token(0)))).contains("last token"));
}

/// A number that was left out would have every side believe that another one had the lease.
#[test]
fn a_record_that_could_not_be_written_leaves_no_token_out() {
    let (stage, shop) = (stage(), name("shop"));
    let (mut a, mut b) = (Node::new(stage.store(), "a"), Node::new(stage.store(), "b"));
    let first = a.has(&shop);
    a.ask(&shop, Deed::Release(first));
    // It cannot be written, by whoever.
    let beside = stage.path("shop.lease.new");
    fs::create_dir(&beside).expect("it can be made");
    for _ in 0..2 {
        assert!(why(a.ask(&shop, Deed::Acquire(Token(0)))).contains("cannot be used"));
    }
    fs::remove_dir(&beside).expect("it can be removed");
    let second = b.has(&shop);
    assert_eq!(second.0, first.0 + 1, "of another");
    b.ask(&shop, Deed::Release(second));
    // It was written, or not: its token was made, as it is where a rename fails.
    let mark = stage.path(&format!("shop.{:020}", second.0 + 1));
    fs::write(&mark, "a").expect("it can be written");
    assert_eq!(a.last(&shop, second).0, second.0 + 1);
    assert_eq!(a.has(&shop).0, second.0 + 1, "its own");
    a.ask(&shop, Deed::Release(Token(second.0 + 1)));
    assert_eq!(b.has(&shop).0, second.0 + 2);
}

/// As it is where a lock was lost, or an old file is read: who is behind makes no token again.
#[test]
fn a_token_that_was_made_is_not_made_again_by_who_reads_an_older_record() {
    let (stage, shop) = (stage(), name("shop"));
    let (mut a, mut b) = (Node::new(stage.store(), "a"), Node::new(stage.store(), "b"));
    let first = a.has(&shop);
    a.ask(&shop, Deed::Release(first));
    let record = stage.path("shop.lease");
    let older = fs::read(&record).expect("there is a record");
    let second = b.has(&shop);
    assert_eq!(second.0, first.0 + 1);
    fs::write(&record, older).expect("it can be written");
    assert_eq!(a.last(&shop, first), second, "nor is it forgotten");
    let third = a.has(&shop);
    assert_eq!(third.0, second.0 + 1);
    assert_eq!(b.ask(&shop, Deed::Renew(second)), Answer::Lost);
}

/// Somebody may have been given it: what the store counts on from is no smaller.
#[test]
fn what_the_store_counts_on_from_is_no_smaller_than_a_token_that_was_made() {
    let (stage, shop) = (stage(), name("shop"));
    let mut a = Node::new(stage.store(), "a");
    let first = a.has(&shop);
    a.ask(&shop, Deed::Release(first));
    for (ahead, is_there) in [(9, true), (1 << 60, false)] {
        let made = Token(first.0 + ahead);
        fs::write(stage.path(&format!("shop.{:020}", made.0)), "b").expect("it can be written");
        if !is_there {
            fs::remove_file(stage.path("shop.lease")).expect("there is a record");
        }
        assert_eq!(a.last(&shop, Token(first.0 + 5)), made);
        assert_eq!(a.last(&shop, made), made, "it stays");
    }
}
