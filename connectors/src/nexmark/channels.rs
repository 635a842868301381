//! Where bids come from: a few channels that everybody uses and many that hardly anybody does, each with its page.

use arrow::array::{Array, AsArray};

use super::texts::Texts;
use crate::random;

const HOT: &[&str] = &["Google", "Facebook", "Baidu", "Apple"];
/// Channels beside the hot ones.
const OTHERS: u64 = 10_000;
/// Of so many of the others, all but one tell their id in the page's address.
const WITH_ID: u64 = 10;

/// All channels with their addresses; the hot ones first.
#[derive(Debug, Default)]
pub struct Channels {
    names: Vec<String>,
    urls: Vec<String>,
}

impl Channels {
    /// The same for every table of one seed.
    pub fn new(seed: u64) -> Self {
        let of_others = (0..OTHERS).map(|number| format!("channel-{number}"));
        let names = HOT.iter().map(|name| (*name).to_string()).chain(of_others).collect();
        let urls_seed = random::column_seed(seed, "bid.url");
        let urls = (0..HOT.len() as u64 + OTHERS).map(|index| url(random::word(urls_seed, index), index)).collect();
        Self { names, urls }
    }

    pub fn name(&self, word: u64) -> &str {
        &self.names[index(word)]
    }

    /// The page of the channel that [`Channels::name`] gives for the same word.
    pub fn url(&self, word: u64) -> &str {
        &self.urls[index(word)]
    }
}

/// Half of all bids come through a hot channel.
fn index(word: u64) -> usize {
    let chosen = random::nth(word, 0);
    let hot = HOT.len() as u64;
    let index = if word >> 63 == 0 { random::below(chosen, hot) } else { hot + random::below(chosen, OTHERS) };
    index as usize
}

fn url(word: u64, index: u64) -> String {
    let mut path = Texts::with_capacity(3);
    for folder in 0..3 {
        path.phrase(random::nth(word, folder), 5, b'_');
        path.end();
    }
    let path = path.finish(None).expect("three short texts");
    let path = path.as_string::<i32>();
    let folders: Vec<&str> = (0..path.len()).map(|folder| path.value(folder)).collect();
    let page = format!("https://www.nexmark.com/{}/item.htm?query=1", folders.join("/"));
    match index.checked_sub(HOT.len() as u64) {
        Some(number) if random::below(random::nth(word, 3), WITH_ID) > 0 => {
            format!("{page}&channel_id={}", (number as u32).reverse_bits() as i64 & i64::from(i32::MAX))
        }
        _ => page,
    }
}
