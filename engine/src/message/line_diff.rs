//! The difference of two short texts, line by line, as `diff -u` prints it.

use std::fmt::Write as _;

/// Unchanged lines around a change.
const CONTEXT_LINES: usize = 3;

/// Pairs of lines that are compared; beyond, the differing middle is shown as wholly replaced.
const PAIRS_MAX: usize = 16 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line<'a> {
    Kept(&'a str),
    Removed(&'a str),
    Added(&'a str),
}

/// The unified difference from `old` to `new`, two versions of the file called `name`.
pub(super) fn unified(name: &str, old: &str, new: &str) -> String {
    let (old, new): (Vec<_>, Vec<_>) = (old.lines().collect(), new.lines().collect());
    let lines = lines(&old, &new);
    let changed = |line: &Line<'_>| !matches!(line, Line::Kept(_));
    // The lines near a change, in runs.
    let near: Vec<bool> = (0..lines.len())
        .map(|at| {
            let from = at.saturating_sub(CONTEXT_LINES);
            let to = lines.len().min(at + CONTEXT_LINES + 1);
            lines[from..to].iter().any(changed)
        })
        .collect();
    let mut text = format!("--- {name}\n+++ {name}, as the code has it\n");
    let (mut old_line, mut new_line) = (1, 1);
    for (at, line) in lines.iter().enumerate() {
        if near[at] && (at == 0 || !near[at - 1]) {
            let run = near[at..].iter().take_while(|near| **near).count();
            let hunk = &lines[at..at + run];
            let olds = hunk.iter().filter(|line| !matches!(line, Line::Added(_)));
            let news = hunk.iter().filter(|line| !matches!(line, Line::Removed(_)));
            // Writing to a string does not fail.
            let _ = writeln!(
                text,
                "@@ -{old_line},{} +{new_line},{} @@",
                olds.count(),
                news.count()
            );
        }
        let (sign, words) = match line {
            Line::Kept(words) => (' ', words),
            Line::Removed(words) => ('-', words),
            Line::Added(words) => ('+', words),
        };
        if near[at] {
            let _ = writeln!(text, "{sign}{words}");
        }
        old_line += usize::from(!matches!(line, Line::Added(_)));
        new_line += usize::from(!matches!(line, Line::Removed(_)));
    }
    text
}

fn lines<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<Line<'a>> {
    let head = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let (old_rest, new_rest) = (&old[head..], &new[head..]);
    let both = old_rest.iter().rev().zip(new_rest.iter().rev());
    let tail = both.take_while(|(a, b)| a == b).count();
    let (old_middle, kept) = old_rest.split_at(old_rest.len() - tail);
    let new_middle = &new_rest[..new_rest.len() - tail];
    let mut lines: Vec<_> = old[..head].iter().copied().map(Line::Kept).collect();
    lines.append(&mut middle(old_middle, new_middle));
    lines.extend(kept.iter().copied().map(Line::Kept));
    lines
}

/// The shortest change, by the lengths of the longest common subsequences of all rests.
fn middle<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<Line<'a>> {
    if old.len().saturating_mul(new.len()) > PAIRS_MAX {
        let removed = old.iter().copied().map(Line::Removed);
        return removed
            .chain(new.iter().copied().map(Line::Added))
            .collect();
    }
    let mut common = vec![vec![0_u32; new.len() + 1]; old.len() + 1];
    for (i, a) in old.iter().enumerate().rev() {
        for (j, b) in new.iter().enumerate().rev() {
            common[i][j] = if a == b {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut lines = Vec::new();
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            lines.push(Line::Kept(old[i]));
            (i, j) = (i + 1, j + 1);
        } else if i < old.len() && (j == new.len() || common[i + 1][j] >= common[i][j + 1]) {
            lines.push(Line::Removed(old[i]));
            i += 1;
        } else {
            lines.push(Line::Added(new[j]));
            j += 1;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_shown_with_the_lines_around_it() {
        let old = "1\n2\n3\n4\n5\n6\n7\n8\n9\n";
        let new = "1\n2\n3\n4\nfive\n6\n7\n8\n9\n10\n";
        let expected = "--- f\n+++ f, as the code has it\n@@ -2,8 +2,9 @@\n 2\n 3\n 4\n-5\n+five\n \
                        6\n 7\n 8\n 9\n+10\n";
        assert_eq!(unified("f", old, new), expected);
    }

    #[test]
    fn changes_far_apart_are_shown_apart() {
        let old: String = (0..20).map(|line| format!("{line}\n")).collect();
        let new = old.replace("0\n1\n", "1\n").replace("19\n", "");
        let shown = unified("f", &old, &new);
        assert_eq!(shown.matches("@@ -").count(), 2, "{shown}");
        assert!(shown.contains("@@ -1,4 +1,3 @@\n-0\n 1"), "{shown}");
    }

    #[test]
    fn applying_the_difference_gives_the_new_text() {
        let mut state = 1_u32;
        let mut text = || {
            let line = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                ["a", "b", "c", "d"][(state >> 30) as usize]
            };
            std::iter::repeat_with(line).take(30).collect::<Vec<_>>()
        };
        for _ in 0..100 {
            let (old, new) = (text(), text());
            let lines = lines(&old, &new);
            let of = |added: bool| {
                let kept = lines.iter().filter_map(move |line| match line {
                    Line::Kept(words) => Some(*words),
                    Line::Removed(words) => (!added).then_some(*words),
                    Line::Added(words) => added.then_some(*words),
                });
                kept.collect::<Vec<_>>()
            };
            assert_eq!((of(false), of(true)), (old.clone(), new.clone()));
        }
    }

    #[test]
    fn one_over_the_pairs_is_shown_as_replaced() {
        let old: Vec<_> = vec!["a"; 4 << 10];
        let mut new = vec!["b"; (4 << 10) + 1];
        new[1] = "a";
        let lines = middle(&old, &new);
        assert_eq!(lines.len(), old.len() + new.len());
    }
}
