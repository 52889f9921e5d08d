//! What the control port says, as JSON.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};

use ringmesh_proto::address::{Address, CoreId, NodeId, Uid};

use crate::counters::Counters;
use crate::event::{LinkEnds, NodeEvent};
use crate::link_report::LinkReport;
use crate::metrics::Metrics;
use crate::quarantine::Remedy;

/// One object, written member by member.
#[derive(Debug)]
pub(super) struct Object(String);

impl Object {
    pub(super) fn new() -> Self {
        Self("{".to_owned())
    }

    /// A member that stands as it is displayed: a number, a truth value, or JSON.
    pub(super) fn plain(mut self, key: &str, value: impl Display) -> Self {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        // Writing to a string does not fail.
        let _ = write!(self.0, "\"{key}\":{value}");
        self
    }

    pub(super) fn text(self, key: &str, value: &str) -> Self {
        self.plain(key, quoted(value))
    }

    /// A member that is null when there is nothing to say.
    fn maybe(self, key: &str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.plain(key, value),
            None => self.plain(key, "null"),
        }
    }

    pub(super) fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

/// A text in quotes, with what must not stand there escaped.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(letter);
            }
            '\n' => quoted.push_str("\\n"),
            _ if letter < ' ' => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(letter));
            }
            _ => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

pub(super) fn list(items: impl IntoIterator<Item = String>) -> String {
    let items: Vec<String> = items.into_iter().collect();
    format!("[{}]", items.join(","))
}

pub(super) fn error(text: &str) -> String {
    Object::new().text("error", text).end()
}

pub(super) fn links(links: &[LinkReport]) -> String {
    Object::new()
        .plain("links", list(links.iter().map(link)))
        .end()
}

fn link(link: &LinkReport) -> String {
    Object::new()
        .plain("core", link.core.0)
        .text("peer", &place(&link.peer))
        .maybe("uid", link.peer_uid.map(uid))
        .plain("peer_core", link.peer_core.0)
        .text("lane", link.lane.label())
        .plain("client", link.client)
        .maybe("transport", link.transport.map(quoted))
        .text("state", link.state.label())
        .maybe("age_ms", link.age.map(|age| age.as_millis()))
        .plain("reconnects", link.reconnects)
        .plain("bytes_sent", link.bytes_sent)
        .plain("bytes_received", link.bytes_received)
        .plain("messages_sent", link.messages_sent)
        .plain("messages_received", link.messages_received)
        .plain("in_flight_bytes", link.in_flight_bytes)
        .plain("window_bytes", link.window_bytes)
        .plain("credit_bytes", link.credit_bytes)
        .maybe("rtt_us", link.round_trip.map(|it| it.as_micros()))
        .maybe(
            "rtt_var_us",
            link.round_trip_variation.map(|it| it.as_micros()),
        )
        .plain("busy_recipients", link.busy_recipients)
        .end()
}

pub(super) fn metrics(metrics: &Metrics) -> String {
    let reasons = |reasons: &BTreeMap<&'static str, u64>| {
        let object = reasons.iter();
        object
            .fold(Object::new(), |all, (label, count)| all.plain(label, count))
            .end()
    };
    Object::new()
        .plain("total", counters(&metrics.total))
        .plain("cores", list(metrics.cores.iter().map(counters)))
        .plain(
            "close_reasons",
            list(metrics.close_reasons.iter().map(reasons)),
        )
        .end()
}

fn counters(counters: &Counters) -> String {
    let all = counters.iter();
    all.fold(Object::new(), |all, (name, count)| all.plain(name, count))
        .end()
}

pub(super) fn event(event: &NodeEvent, at_ms: u128) -> String {
    let object = Object::new()
        .plain("at_ms", at_ms)
        .text("event", event.label());
    match event {
        NodeEvent::Listening { address, bound } => object
            .text("address", &place(address))
            .text("bound", &bound.to_string()),
        NodeEvent::Associated { link, dialled } => ends(object, link).plain("dialled", dialled),
        NodeEvent::Lost { link, reason, over } => ends(object, link)
            .text("reason", reason)
            .plain("over", over),
        NodeEvent::Forming { link } | NodeEvent::Rested { link } | NodeEvent::Resumed { link } => {
            ends(object, link)
        }
        NodeEvent::Restarted {
            core,
            address,
            old,
            new,
        } => place_of(object, *core, address)
            .plain("old", uid(*old))
            .plain("new", uid(*new)),
        NodeEvent::Forgotten {
            core,
            address,
            peer_core,
        } => place_of(object, *core, address).plain("peer_core", peer_core.0),
        NodeEvent::Refused { core, by, reason } => object
            .plain("core", core.0)
            .maybe("by", by.as_ref().map(|by| quoted(&place(by))))
            .text("reason", reason),
        NodeEvent::Stalled {
            link,
            in_flight_bytes,
        } => ends(object, link).plain("in_flight_bytes", in_flight_bytes),
        NodeEvent::Oversize { link, received } => ends(object, link).plain("received", received),
        NodeEvent::Dropped {
            link,
            messages,
            received,
        } => ends(object, link)
            .plain("messages", messages)
            .plain("received", received),
        NodeEvent::Quarantined {
            core,
            node,
            cause,
            remedy,
        } => parted(
            object.plain("core", core.0).text("cause", cause),
            node,
            *remedy,
        ),
        NodeEvent::QuarantinedByPeer { core, node, remedy } => {
            parted(object.plain("core", core.0), node, *remedy)
        }
        NodeEvent::NodeLost { core, node, why } => {
            start_of(object.plain("core", core.0), node).text("why", why.label())
        }
        NodeEvent::NodeFound { core, node } => start_of(object.plain("core", core.0), node),
        NodeEvent::CoreStalled { core, span } | NodeEvent::CoreTurns { core, span } => object
            .plain("core", core.0)
            .plain("span_ms", span.as_millis()),
    }
    .end()
}

fn place_of(object: Object, core: CoreId, address: &Address) -> Object {
    object.plain("core", core.0).text("peer", &place(address))
}

fn parted(object: Object, node: &NodeId, remedy: Remedy) -> Object {
    start_of(object, node).text("remedy", remedy.text())
}

fn start_of(object: Object, node: &NodeId) -> Object {
    object
        .text("peer", &place(&node.address))
        .plain("uid", uid(node.uid))
}

fn ends(object: Object, link: &LinkEnds) -> Object {
    object
        .plain("core", link.core.0)
        .text("peer", &place(&link.peer.address))
        .plain("uid", uid(link.peer.uid))
        .plain("peer_core", link.peer_core.0)
        .text("lane", link.lane.label())
}

/// 16 hexadecimal digits: a number of JSON does not hold all of them.
fn uid(uid: Uid) -> String {
    format!("\"{uid}\"")
}

/// `host:port`, with brackets around the host where they belong.
fn place(address: &Address) -> String {
    let address = address.to_string();
    address.rsplit('@').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped_and_members_are_separated() {
        let object = Object::new()
            .text("a", "say \"no\"\n\\\u{1}")
            .plain("b", 5)
            .maybe("c", None::<u64>);
        let expected = r#"{"a":"say \"no\"\n\\\u0001","b":5,"c":null}"#;
        assert_eq!(object.end(), expected);
        assert_eq!(Object::new().end(), "{}");
        assert_eq!(list([]), "[]");
    }

    #[test]
    fn a_quarantine_names_the_node_the_cause_and_the_remedy() {
        let node = NodeId {
            address: Address::new("demo", "10.0.0.1", 7).unwrap(),
            uid: Uid::new(0x2a).unwrap(),
        };
        let (core, remedy) = (CoreId(1), Remedy::RestartPeer);
        let cause = "it \"lies\"".into();
        let told = event(
            &NodeEvent::Quarantined {
                core,
                node,
                cause,
                remedy,
            },
            5,
        );
        let named = [
            r#"{"at_ms":5,"event":"quarantined","core":1,"cause":"it \"lies\"","#,
            r#""peer":"10.0.0.1:7","uid":"000000000000002a","remedy":"restart "#,
        ];
        assert!(told.starts_with(&named.concat()), "{told}");
    }
}
