//! The keys of who a node takes others for, and they it.

use super::NodeRole;
use super::key::{Key, Kind};
use super::kinds::switch;

pub(super) const VERIFY_PEERS: Key = Key {
    section: "node",
    name: "verify_peers",
    meaning: "Whether the address that a dialler claims is asked before it is let in: \"on\" \
              or \"off\". Nodes that cannot be dialled, behind NAT or a firewall, are let in \
              only without.",
    too_small: "off, whoever reaches the port can claim to be a node that has no link at the \
                moment.",
    too_large: "on, the first link between two nodes takes two more round trips.",
    kind: switch!(verify_peers),
};

pub(super) const ROLE: Key = Key {
    section: "node",
    name: "role",
    meaning: "What this node is to those that it dials: \"node\" or \"client\". A client reaches \
              the actors that they registered for clients, and nothing else: it does not watch, \
              select or spawn there. Nobody makes links with it, not even a node whose actors it \
              has told of its own; those answer over the links that it made.",
    too_small: "a client finds nothing where nothing is registered for it.",
    too_large: "a node is trusted by all that it dials.",
    kind: Kind::Text {
        form: "\"node\" or \"client\"",
        get: |settings| name(settings.role).to_owned(),
        set: |settings, text| {
            let roles = [NodeRole::Node, NodeRole::Client];
            let named = roles.into_iter().find(|role| name(*role) == text);
            settings.role = named.ok_or_else(String::new)?;
            Ok(())
        },
    },
};

fn name(role: NodeRole) -> &'static str {
    match role {
        NodeRole::Node => "node",
        NodeRole::Client => "client",
    }
}

#[cfg(test)]
mod tests {
    use crate::{Engine, NodeRole};

    #[test]
    fn a_role_comes_from_code_and_words_and_others_are_refused() {
        let role = |builder: crate::NodeBuilder| builder.configuration().map(|it| it.role).ok();
        let client = |settings: &mut crate::Settings| settings.role = NodeRole::Client;
        assert_eq!(role(Engine::node("demo")), Some(NodeRole::Node));
        let coded = Engine::node("demo").settings(client);
        assert_eq!(role(coded.clone()), Some(NodeRole::Client));
        assert_eq!(
            role(coded.clone().set("node.role", "node")),
            Some(NodeRole::Node)
        );
        let set = Engine::node("demo").set("node.role", "client");
        assert_eq!(role(set.clone()), Some(NodeRole::Client));
        let printed = set.configuration().expect("they are right").effective();
        assert!(printed.contains("\nrole = \"client\" # "), "{printed}");
        let wrong = coded.set("node.role", "guest").configuration();
        let error = wrong.expect_err("no role").to_string();
        assert!(
            error.contains("node.role") && error.contains("\"node\" or \"client\""),
            "{error}"
        );
    }
}
