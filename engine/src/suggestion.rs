//! What was probably meant by a word that nothing has: "did you mean".

/// The candidate nearest to `word` (case ignored), if any is near enough to be what was meant.
pub fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// `bdi` and `bid` have 0.67.
    const SIMILARITY_MIN: f64 = 0.65;
    nearest(word, candidates, SIMILARITY_MIN)
}

/// The candidate that is most similar to `word` (1 is equal but for case), if any reaches `similarity_min`.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>, similarity_min: f64) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let scored = candidates.into_iter().map(|candidate| (similarity(&lower, &candidate.to_lowercase()), candidate));
    let best = scored.filter(|(score, _)| *score >= similarity_min).max_by(|a, b| a.0.total_cmp(&b.0))?;
    Some(best.1)
}

fn similarity(a: &str, b: &str) -> f64 {
    /// Longer words are not compared: the cost is the product of the lengths.
    const COMPARED_BYTES_MAX: usize = 128;
    if a.len() > COMPARED_BYTES_MAX || b.len() > COMPARED_BYTES_MAX {
        return 0.0;
    }
    strsim::normalized_damerau_levenshtein(a, b).max(strsim::jaro_winkler(a, b) - 0.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        for (word, expected) in
            [("bdi", Some("bid")), ("BID", Some("bid")), ("bids", Some("bid")), ("zebra", None), ("", None)]
        {
            assert_eq!(closest(word, ["ask", "bid", "auction"]), expected, "{word}");
        }
        assert_eq!(closest(&"x".repeat(10_000), ["x"]), None);
    }
}
