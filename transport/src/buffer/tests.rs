use super::*;
use crate::ring::Completion;

fn fill(index: u16, len: i32) -> Completion {
    Completion::made_up(0, len, Some(index))
}

#[test]
fn views_narrow_split_and_join() {
    let mut chunk = Chunk::copied_from(b"abcdefgh");
    let tail = chunk.slice(5..8);
    let mut front = chunk.split_to(3);
    assert_eq!(
        (&*front, &*chunk, &*tail),
        (&b"abc"[..], &b"defgh"[..], &b"fgh"[..])
    );
    let tail = front.try_join(tail).expect_err("there is a gap");
    let middle = chunk.split_to(2);
    front.try_join(middle).unwrap();
    front.try_join(tail).unwrap();
    assert_eq!(&*front, b"abcdefgh");
    let foreign = Chunk::copied_from(b"i");
    assert!(front.try_join(foreign).is_err(), "another buffer");
    front.advance(8);
    assert!(front.is_empty() && !front.is_pooled());
}

#[test]
#[should_panic(expected = "past the end")]
fn one_over_the_end_of_a_chunk_panics() {
    Chunk::copied_from(b"abc").advance(4);
}

#[test]
#[should_panic(expected = "range past the chunk")]
fn a_slice_cannot_reach_back_out_of_its_view() {
    let mut chunk = Chunk::copied_from(b"abcdef");
    let front = chunk.split_to(2);
    let _ = front.slice(0..3);
}

#[test]
fn a_pooled_buffer_is_lent_again_only_after_its_last_chunk() {
    let mut pool = ReceivePool::new(2, 64).unwrap();
    assert!(pool.lend_returned());
    assert_eq!((pool.lent(), pool.pinned()), (2, 0));
    let first = pool.take(fill(0, 10)).unwrap();
    let second = first.slice(2..4);
    assert!(first.is_pooled());
    drop(first);
    assert!(!pool.lend_returned(), "a slice still covers it");
    assert_eq!((pool.lent(), pool.pinned()), (1, 1));
    drop(second);
    assert_eq!((pool.lent(), pool.pinned()), (1, 0));
    assert!(pool.lend_returned());
    assert_eq!(pool.lent(), 2);
    assert!(
        pool.take(Completion::made_up(0, -libc::ENOBUFS, None))
            .is_none()
    );
}

#[test]
#[should_panic(expected = "not lent")]
fn a_buffer_that_is_not_lent_cannot_be_filled() {
    let mut pool = ReceivePool::new(2, 64).unwrap();
    pool.lend_returned();
    let _held = pool.take(fill(1, 1));
    pool.take(fill(1, 1));
}

#[test]
fn a_chunk_outlives_its_pool() {
    let mut pool = ReceivePool::new(1, 64).unwrap();
    pool.lend_returned();
    let chunk = pool.take(fill(0, 64)).unwrap();
    pool.unregistered();
    drop(pool);
    let copy = chunk.clone();
    drop(chunk);
    assert_eq!(&*copy, &[0; 64]);
}

#[test]
fn bulk_chunks_are_neighbours_and_their_buffer_waits_for_them() {
    let pool = BulkPool::new(1, 4096).unwrap();
    let mut buffer = pool.acquire().unwrap();
    assert!(pool.acquire().is_none(), "one writer at a time");
    assert_eq!(pool.pinned(), 0);
    let (start, room) = buffer.lend(7);
    assert_eq!(room, 4096);
    let mut first = buffer.take(Completion::made_up(7, 1000, None)).unwrap();
    let (next, _) = buffer.lend(8);
    assert_eq!(next as usize - start as usize, 1000);
    let second = buffer.take(Completion::made_up(8, 500, None)).unwrap();
    first.try_join(second).unwrap();
    assert_eq!((first.len(), buffer.room(), pool.pinned()), (1500, 2596, 1));
    buffer.lend(9);
    assert!(
        buffer
            .take(Completion::made_up(9, -libc::ECANCELED, None))
            .is_none()
    );
    drop(buffer);
    assert!(pool.acquire().is_none(), "a chunk covers it");
    drop(first);
    assert_eq!(pool.acquire().unwrap().room(), 4096);
}

#[test]
fn a_bulk_buffer_dropped_while_lent_is_never_handed_out_again() {
    let pool = BulkPool::new(1, 4096).unwrap();
    pool.acquire().unwrap().lend(1);
    assert!(pool.acquire().is_none());
}

#[test]
fn an_assembly_uses_its_memory_again_unless_it_is_shared() {
    let mut assembly = Assembly::new();
    assembly.push(b"head");
    assembly.push(&[9; 5000]);
    assert_eq!(
        (assembly.len(), &assembly.bytes()[..5]),
        (5004, &b"head\x09"[..])
    );
    let chunk = assembly.finish();
    assert_eq!(
        (chunk.len(), &chunk[..5], assembly.is_empty()),
        (5004, &b"head\x09"[..], true)
    );
    let address = chunk.as_ptr();
    assembly.push(b"while shared");
    assert_ne!(assembly.bytes().as_ptr(), address);
    assert_eq!(&chunk[..4], b"head");
    let second = assembly.finish();
    let address = second.as_ptr();
    drop(second);
    assembly.push(b"after");
    assert_eq!(
        (assembly.bytes(), assembly.bytes().as_ptr()),
        (&b"after"[..], address)
    );
    assembly.release();
    assert!(assembly.finish().is_empty());
}

#[test]
fn a_short_frame_may_hold_the_memory_of_a_longer_one_and_says_so() {
    let mut assembly = Assembly::new();
    assembly.push(&[1; 200_000]);
    let long = assembly.finish();
    assert!(long.held_bytes() < 2 * long.len());
    drop(long);
    assembly.push(&[2; 5000]);
    let short = assembly.finish();
    assert_eq!((short.len(), short.held_bytes()), (5000, 1 << 18));
    assert_eq!(short.slice(10..20).held_bytes(), 1 << 18);
    assert_eq!(Chunk::copied_from(&short).held_bytes(), 5000);
}
