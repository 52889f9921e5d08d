use proptest::prelude::*;

use super::*;
use crate::pubsub::shape::Shapes;

fn segment() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[ab]",
        1 => "[a-c\u{e4}/#-]{1,3}",
    ]
}

fn name() -> impl Strategy<Value = String> {
    prop::collection::vec(segment(), 1..6).prop_map(|it| it.join("."))
}

fn pattern() -> impl Strategy<Value = String> {
    let segment = prop_oneof![2 => segment(), 1 => Just("*".to_owned())];
    let segments = prop::collection::vec(segment, 0..5);
    (segments, any::<bool>()).prop_map(|(mut segments, is_open)| {
        if is_open || segments.is_empty() {
            segments.push("**".to_owned());
        }
        segments.join(".")
    })
}

/// What the docs say, word for word.
fn naive(pattern: &[&str], name: &[&str]) -> bool {
    match (pattern, name) {
        (["**"], _) | ([], []) => true,
        ([first, pattern @ ..], [segment, name @ ..]) => {
            (*first == "*" || first == segment) && naive(pattern, name)
        }
        _ => false,
    }
}

proptest! {
    #[test]
    fn a_pattern_matches_what_a_plain_walk_says(pattern in pattern(), name in name()) {
        let segments = |it: &str| it.split('.').map(str::to_owned).collect::<Vec<_>>();
        let (parts, others) = (segments(&pattern), segments(&name));
        let parts: Vec<&str> = parts.iter().map(|it| &**it).collect();
        let others: Vec<&str> = others.iter().map(|it| &**it).collect();
        let expected = naive(&parts, &others);
        let topic = Topic::new(&name).unwrap();
        let compiled = Pattern::new(&pattern).unwrap();
        prop_assert_eq!(compiled.matches(topic), expected);
    }

    #[test]
    fn the_texts_that_are_visited_are_those_of_the_patterns_that_match(
        patterns in prop::collection::btree_set(pattern(), 0..20),
        name in name(),
    ) {
        let mut shapes = Shapes::default();
        let compiled: Vec<Pattern> = patterns.iter().map(|it| Pattern::new(it).unwrap()).collect();
        for shape in compiled.iter().filter_map(Pattern::shape) {
            shapes.add(shape);
        }
        let mut visited = std::collections::BTreeMap::new();
        shapes.visit(&name, |text, hash| {
            assert_eq!(hash, super::hash(text.as_bytes()));
            *visited.entry(text.to_owned()).or_insert(0) += 1;
        });
        prop_assert!(visited.values().all(|times| *times == 1), "each once");
        let topic = Topic::new(&name).unwrap();
        for pattern in &compiled {
            let is_visited = visited.contains_key(pattern.as_str());
            prop_assert_eq!(is_visited, pattern.matches(topic), "{}", pattern);
        }
        for shape in compiled.iter().filter_map(Pattern::shape) {
            shapes.remove(shape);
        }
        prop_assert_eq!(shapes.len(), 0);
    }

    #[test]
    fn no_text_is_more_than_refused(text in "\\PC{0,40}|[a.*]{0,300}") {
        if let Ok(name) = TopicName::new(&text) {
            prop_assert!(Pattern::new(&text).unwrap().matches(name.topic()));
        }
        let _ = (GroupName::new(&text), Path::new(&text));
    }
}

#[test]
fn what_is_no_name_is_refused_by_its_reason() {
    for text in [
        "a..b",
        ".a",
        "a.",
        ".",
        "a b",
        "a\n",
        "a*",
        "a.*b",
        "***",
        "a.\u{a0}b",
    ] {
        assert_eq!(TopicName::new(text), Err(NameError::Malformed), "{text}");
        assert_eq!(Pattern::new(text), Err(NameError::Malformed), "{text}");
    }
    for text in ["*", "a.*", "*.a", "**", "a.**"] {
        assert_eq!(TopicName::new(text), Err(NameError::Wildcard), "{text}");
        assert!(!Pattern::new(text).expect("a pattern").is_exact());
    }
    for text in ["**.a", "a.**.b", "**.**"] {
        assert_eq!(Pattern::new(text), Err(NameError::Wildcard), "{text}");
    }
    assert_eq!(TopicName::new(""), Err(NameError::Empty));
    assert_eq!(Pattern::new(""), Err(NameError::Empty));
    assert_eq!(GroupName::new(""), Err(NameError::Empty));
    assert_eq!(GroupName::new("a b"), Err(NameError::Malformed));
    assert_eq!(Path::new(""), Err(NameError::Empty));
    assert_eq!(Path::new("a//b"), Err(NameError::Malformed));
    assert!(Path::new("orders/eu").is_ok());
}

#[test]
fn one_over_the_lengths_is_refused() {
    let long = |length| "n".repeat(length);
    let (length, max) = (TOPIC_BYTES_MAX + 1, TOPIC_BYTES_MAX);
    let over = Err(NameError::Overlong { length, max });
    assert!(TopicName::new(&long(TOPIC_BYTES_MAX)).is_ok());
    assert_eq!(TopicName::new(&long(length)).map(|_| ()), over);
    assert_eq!(Pattern::new(&long(length)).map(|_| ()), over);
    assert!(GroupName::new(&long(GROUP_BYTES_MAX)).is_ok());
    assert!(GroupName::new(&long(GROUP_BYTES_MAX + 1)).is_err());
    assert!(Path::new(&long(PATH_BYTES_MAX)).is_ok());
    assert!(Path::new(&long(PATH_BYTES_MAX + 1)).is_err());
    let deep = |count| vec!["n"; count].join(".");
    assert!(TopicName::new(&deep(SEGMENTS_MAX)).is_ok());
    let count = SEGMENTS_MAX + 1;
    let over = Err(NameError::Segments { count });
    assert_eq!(TopicName::new(&deep(count)), over);
}

#[test]
fn the_longest_names_match_the_longest_patterns() {
    let name = format!("{}.{}", "a.".repeat(SEGMENTS_MAX - 2), "b".repeat(100)).replace("..", ".");
    let topic = Topic::new(&name).expect("a name");
    let stars = vec!["*"; SEGMENTS_MAX].join(".");
    let counts = name.split('.').count();
    let pattern = Pattern::new(&stars).expect("a pattern");
    assert_eq!(pattern.matches(topic), counts == SEGMENTS_MAX);
    let full = "n".repeat(TOPIC_BYTES_MAX);
    let topic = Topic::new(&full).expect("a name");
    assert!(Pattern::new("**").expect("a pattern").matches(topic));
    assert!(!Pattern::new("n.**").expect("a pattern").matches(topic));
    let shape = Pattern::new("n.**").expect("a pattern").shape();
    let mut shapes = Shapes::default();
    assert!(shape.is_some_and(|it| shapes.add(it)));
    let mut longest = 0;
    shapes.visit(&full, |text, _| longest = longest.max(text.len()));
    assert_eq!(longest, TOPIC_BYTES_MAX + 3);
}
