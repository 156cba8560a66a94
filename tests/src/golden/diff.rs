//! Where two texts differ, for people.
//!
//! This module must never judge: equal lines are equal, whatever they say.

/// All lines of both: `+` before what is new, `-` before what is missing.
pub(super) fn diff(before: &[String], now: &[String]) -> String {
    // Lengths of the longest common subsequences of all the rests.
    let mut common = vec![vec![0_usize; now.len() + 1]; before.len() + 1];
    for (i, old) in before.iter().enumerate().rev() {
        for (j, new) in now.iter().enumerate().rev() {
            common[i][j] = if old == new {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let (mut i, mut j, mut text) = (0, 0, String::new());
    while i < before.len() || j < now.len() {
        let (sign, line) = if i < before.len() && j < now.len() && before[i] == now[j] {
            (i, j) = (i + 1, j + 1);
            (' ', &before[i - 1])
        } else if j == now.len() || (i < before.len() && common[i + 1][j] >= common[i][j + 1]) {
            i += 1;
            ('-', &before[i - 1])
        } else {
            j += 1;
            ('+', &now[j - 1])
        };
        text += &format!("  {sign} {line}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::diff;

    #[test]
    fn what_is_common_stands_once() {
        let lines = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let text = diff(&lines("a b c d"), &lines("b x d e"));
        assert_eq!(text, "  - a\n    b\n  - c\n  + x\n    d\n  + e\n");
        assert_eq!(diff(&lines("a"), &lines("a")), "    a\n");
        assert_eq!(diff(&[], &lines("a")), "  + a\n");
    }
}
