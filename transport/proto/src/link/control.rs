//! What a link sends besides its stream: values that take no position and may be lost.

use std::collections::VecDeque;

use crate::frame::body::{
    Bye, ByeReason, CONTROL_FRAME_BYTES_MAX, Grant, Notice, Ping, Pong, Rest,
};
use crate::limits::NOTICES_MAX;
use crate::slab::{Slab, SlabSlice};

/// Control frames that wait for the next send. They are kept as values and encoded when they leave,
/// so a newer one takes the place of an older one.
#[derive(Debug, Default)]
pub(super) struct Control {
    grant: Option<Grant>,
    pings: Few<Ping>,
    pongs: Few<Pong>,
    notices: VecDeque<Notice>,
    rest: bool,
    bye: Option<ByeReason>,
    slab: Option<Slab>,
}

impl Control {
    pub(super) fn set_grant(&mut self, grant: Grant) {
        self.grant = Some(grant);
    }

    pub(super) fn set_ping(&mut self, nonce: u64) {
        self.pings.push(Ping { nonce });
    }

    pub(super) fn set_pong(&mut self, nonce: u64) {
        self.pongs.push(Pong { nonce });
    }

    pub(super) fn set_rest(&mut self) {
        self.rest = true;
    }

    pub(super) fn says_rest(&self) -> bool {
        self.rest
    }

    pub(super) fn set_bye(&mut self, reason: ByeReason) {
        self.bye = Some(reason);
    }

    /// Drops what waits, a goodbye aside: it is said anew on the next connection.
    pub(super) fn forget(&mut self) {
        self.grant = None;
        self.pings.clear();
        self.pongs.clear();
        self.notices.clear();
        self.rest = false;
    }

    /// Says whether there was room for it.
    pub(super) fn push_notice(&mut self, notice: Notice) -> bool {
        let room = self.notices.len() < NOTICES_MAX;
        if room {
            self.notices.push_back(notice);
        }
        room
    }

    /// Whether anything waits, a goodbye aside.
    #[inline]
    pub(super) fn is_pending(&self) -> bool {
        self.grant.is_some()
            || !self.pings.is_empty()
            || !self.pongs.is_empty()
            || !self.notices.is_empty()
            || self.rest
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.bye.is_some()
    }

    /// Encodes what waits, the goodbye aside, as far as it fits one small slab.
    pub(super) fn take(&mut self) -> SlabSlice {
        let mut slab = self.empty_slab();
        if let Some(grant) = self.grant.take() {
            append(&mut slab, |into| grant.encode(into));
        }
        for ping in self.pings.take() {
            append(&mut slab, |into| ping.encode(into));
        }
        for pong in self.pongs.take() {
            append(&mut slab, |into| pong.encode(into));
        }
        // Of a link that gives its connection up all that is said anew on the next may go missing.
        if std::mem::take(&mut self.rest) {
            append(&mut slab, |into| Rest.encode(into));
        }
        while slab.room() >= CONTROL_FRAME_BYTES_MAX
            && let Some(notice) = self.notices.pop_front()
        {
            append(&mut slab, |into| notice.encode(into));
        }
        let slice = slab.freeze();
        self.slab = Some(slab);
        slice
    }

    /// Encodes the goodbye, if one waits.
    pub(super) fn take_bye(&mut self) -> Option<SlabSlice> {
        let reason = self.bye.take()?;
        let mut slab = Slab::with_capacity(CONTROL_FRAME_BYTES_MAX);
        append(&mut slab, |into| Bye { reason }.encode(into));
        Some(slab.freeze())
    }

    /// The slab of last time, unless it is still being sent.
    fn empty_slab(&mut self) -> Slab {
        if let Some(mut slab) = self.slab.take()
            && slab.reclaim()
        {
            return slab;
        }
        Slab::with_capacity(CONTROL_SLAB_BYTES)
    }
}

/// The last few of something that a link sends for several reasons at a time; an older one goes for
/// a newer one.
#[derive(Debug)]
struct Few<T>([Option<T>; FEW]);

/// A probe, a look at the round trip, and a user's ping may leave together.
const FEW: usize = 3;

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self([const { None }; FEW])
    }
}

impl<T> Few<T> {
    fn push(&mut self, value: T) {
        let Self(places) = self;
        if places.iter().all(Option::is_some) {
            places.rotate_left(1);
            places[FEW - 1] = None;
        }
        if let Some(free) = places.iter_mut().find(|place| place.is_none()) {
            *free = Some(value);
        }
    }

    fn is_empty(&self) -> bool {
        self.0[0].is_none()
    }

    fn clear(&mut self) {
        *self = Self::default();
    }

    fn take(&mut self) -> impl Iterator<Item = T> + use<T> {
        std::mem::take(self).0.into_iter().flatten()
    }
}

fn append(slab: &mut Slab, encode: impl FnOnce(&mut [u8]) -> usize) {
    let written = encode(slab.tail_mut());
    slab.advance(written);
}

/// Room for a grant, the pings, the pongs, a rest and a dozen notices.
const CONTROL_SLAB_BYTES: usize = 416;

const _: () = assert!(CONTROL_SLAB_BYTES >= (2 + 2 * FEW) * CONTROL_FRAME_BYTES_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_over_a_few_takes_the_place_of_the_oldest() {
        let mut few = Few::default();
        assert!(few.is_empty());
        (0..=FEW).for_each(|number| few.push(number));
        assert!(!few.is_empty());
        let left: Vec<usize> = few.take().collect();
        assert_eq!(left, [1, 2, 3]);
        assert!(few.is_empty());
    }
}
