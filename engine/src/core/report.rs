//! The links of a core as they are now, put together when somebody asks.

use std::rc::Rc;

use ringmesh_proto::association::Status;

use super::Core;
use super::link::Link;
use super::peers::{Peer, PeerIndex};
use super::stall::Standing;
use crate::link_report::{LinkReport, LinkState};

impl Core {
    /// The links of all cores, in the order of the cores. A core that ends is left out.
    pub(crate) async fn links(self: &Rc<Self>) -> Vec<LinkReport> {
        let mut links = Vec::new();
        for core in self.cores() {
            let of_core = self.run_on(core, |there| Ok(there.report_links())).await;
            links.extend(of_core.into_iter().flatten());
        }
        links
    }

    /// The links to other nodes, and the dials under way. Has round trips measured.
    fn report_links(self: &Rc<Self>) -> Vec<LinkReport> {
        let indices: Vec<PeerIndex> = self.peers.borrow().others().collect();
        let reports = indices.into_iter().filter_map(|peer| self.report_of(peer));
        reports.collect()
    }

    fn report_of(&self, index: PeerIndex) -> Option<LinkReport> {
        let mut peers = self.peers.borrow_mut();
        let peer = peers.at(index);
        let status = peer.association.status();
        let Some(link) = peer.link.clone() else {
            let state = match status {
                Status::Dialling => LinkState::Dialling,
                Status::BackOff => LinkState::BackOff,
                _ => return None,
            };
            return Some(self.blank(peer, state));
        };
        let mut report = self.blank(peer, self.state_of(&link, status));
        drop(peers);
        if link.forming.get() {
            self.describe_link(&link, &mut report);
            report.age = None;
            return Some(report);
        }
        self.measure_trip(&link);
        self.describe_link(&link, &mut report);
        Some(report)
    }

    fn blank(&self, peer: &Peer, state: LinkState) -> LinkReport {
        LinkReport {
            core: self.id,
            peer: peer.address.clone(),
            peer_uid: None,
            peer_core: peer.core,
            lane: peer.lane,
            client: false,
            transport: None,
            state,
            age: None,
            reconnects: peer.meetings.saturating_sub(1),
            bytes_sent: 0,
            bytes_received: 0,
            messages_sent: 0,
            messages_received: 0,
            in_flight_bytes: 0,
            window_bytes: self.settings.of_lane(peer.lane).window_bytes,
            credit_bytes: 0,
            round_trip: None,
            round_trip_variation: None,
            busy_recipients: 0,
        }
    }

    fn state_of(&self, link: &Link, status: Status) -> LinkState {
        let connection = link.connection.get().and_then(|id| self.connection(id));
        if matches!(status, Status::Stopping) || link.ended.get() {
            LinkState::Ending
        } else if link.forming.get() {
            match status {
                Status::BackOff => LinkState::BackOff,
                _ => LinkState::Dialling,
            }
        } else if matches!(status, Status::Resting(_)) {
            LinkState::Resting
        } else if link.is_lost() {
            LinkState::Lost
        } else if connection.is_none_or(|connection| connection.doubted.get()) {
            LinkState::Doubted
        } else if link.progress.get().standing() == Standing::Still {
            LinkState::Stalled
        } else {
            LinkState::Up
        }
    }

    fn describe_link(&self, link: &Link, report: &mut LinkReport) {
        let (outbound, inbound) = (link.outbound.borrow(), link.inbound.borrow());
        let positions = outbound.positions();
        let vitals = &link.vitals;
        let connection = link.connection.get();
        report.transport = connection.map(|id| self.io.borrow().name_of(id));
        report.client = link.of_client.get();
        report.peer_uid = Some(link.uid);
        report.age = Some(self.clock.now().saturating_since(vitals.since.get()));
        report.bytes_sent = positions.reached;
        report.bytes_received = inbound.received_to();
        report.messages_sent = vitals.acknowledged.get() + outbound.retained_messages();
        report.messages_received = vitals.received.get();
        report.in_flight_bytes = outbound.in_flight_bytes();
        report.credit_bytes = positions.limit.saturating_sub(positions.tail);
        report.busy_recipients = outbound.busy_recipients();
        (report.round_trip, report.round_trip_variation) = vitals.round_trip().unzip();
    }

    /// Has the next look see how long a round trip takes.
    fn measure_trip(&self, link: &Rc<Link>) {
        let number = crate::random::number();
        // A look wakes nobody.
        let is_up = !link.is_lost() && !self.is_closing();
        if is_up && link.vitals.begin_trip(number, self.clock.peek()) {
            link.outbound.borrow_mut().queue_ping(number);
            self.enqueue(link);
        }
    }
}
