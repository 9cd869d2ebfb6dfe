//! How many lookups does each engine answer on skewed traffic, and what does an entry weigh?
//!
//! Zipf(s) over 20,000 keys, 300,000 lookups of which the first 100,000 warm up.
//! Next to our engines: exact LRU and SIEVE, and the static optimum (the most
//! popular keys, always there). Prints one table and ends.

use std::collections::{BTreeMap, HashMap, VecDeque};

use lb_cache::local::Eviction;
use lb_cache::{Local, TieredCache};

const KEYS: usize = 20_000;
const LOOKUPS: usize = 300_000;
const WARM_UP: usize = 100_000;

/// Draws keys by popularity.
struct Zipf(Vec<f64>);

impl Zipf {
    fn new(s: f64) -> Self {
        let mut sum = 0.0;
        let weights = (1..=KEYS).map(|rank| {
            sum += (rank as f64).powf(-s);
            sum
        });
        let cumulated: Vec<f64> = weights.collect();
        Self(cumulated.iter().map(|weight| weight / sum).collect())
    }

    fn draw(&self, random: &mut fastrand::Rng) -> u32 {
        let point = random.f64();
        self.0
            .partition_point(|cumulated| *cumulated < point)
            .min(KEYS - 1) as u32
    }

    fn optimum(&self, capacity: usize) -> f64 {
        self.0[capacity - 1]
    }
}

/// Looks a key up, and puts it in if it is not there.
trait Contender {
    fn hit(&mut self, key: u32) -> bool;
}

#[derive(Default)]
struct Lru {
    capacity: usize,
    clock: u64,
    used: HashMap<u32, u64>,
    order: BTreeMap<u64, u32>,
}

impl Contender for Lru {
    fn hit(&mut self, key: u32) -> bool {
        self.clock += 1;
        let before = self.used.insert(key, self.clock);
        if let Some(before) = before {
            self.order.remove(&before);
        } else if self.used.len() > self.capacity
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.used.remove(&oldest);
        }
        self.order.insert(self.clock, key);
        before.is_some()
    }
}

/// Zhang et al., NSDI 2024: a queue, one visited bit, one hand that moves to newer entries.
#[derive(Default)]
struct Sieve {
    capacity: usize,
    visited: HashMap<u32, bool>,
    older: VecDeque<u32>,
    newer: VecDeque<u32>,
}

impl Contender for Sieve {
    fn hit(&mut self, key: u32) -> bool {
        if let Some(visited) = self.visited.get_mut(&key) {
            *visited = true;
            return true;
        }
        if self.visited.len() == self.capacity {
            self.evict();
        }
        self.visited.insert(key, false);
        self.newer.push_back(key);
        false
    }
}

impl Sieve {
    /// `older` lies behind the hand, `newer` before it; at the newest the hand goes back to the oldest.
    fn evict(&mut self) {
        loop {
            let Some(key) = self.newer.pop_front() else {
                std::mem::swap(&mut self.newer, &mut self.older);
                continue;
            };
            match self.visited.get_mut(&key) {
                Some(visited) if *visited => {
                    *visited = false;
                    self.older.push_back(key);
                }
                _ => {
                    self.visited.remove(&key);
                    return;
                }
            }
        }
    }
}

struct Ours(TieredCache<u32, u32>, tokio::runtime::Runtime, usize);

impl Ours {
    fn new(local: Local) -> Self {
        let cache = TieredCache::builder("zipf")
            .local(local)
            .build()
            .expect("a valid policy");
        Self(
            cache,
            tokio::runtime::Builder::new_current_thread()
                .build()
                .expect("a runtime"),
            0,
        )
    }
}

impl Contender for Ours {
    fn hit(&mut self, key: u32) -> bool {
        // Engines settle their books in the background; a simulation has none.
        self.2 += 1;
        if self.2.is_multiple_of(64) {
            let _settled = self.0.stats();
        }
        let hit = self.0.get_if_local(&key).is_some();
        if !hit {
            self.1.block_on(self.0.insert(key, key)).expect("an insert");
        }
        hit
    }
}

fn hit_rate(zipf: &Zipf, mut contender: impl Contender) -> f64 {
    let mut random = fastrand::Rng::with_seed(7);
    let mut hits = 0;
    for n in 0..LOOKUPS {
        let hit = contender.hit(zipf.draw(&mut random));
        hits += usize::from(hit && n >= WARM_UP);
    }
    100.0 * hits as f64 / (LOOKUPS - WARM_UP) as f64
}

/// Bytes that one entry takes beyond its key (8) and value (8).
fn bytes_per_entry(local: Local) -> f64 {
    const ENTRIES: u32 = 50_000;
    let mut kept = None;
    let used = allocation_counter::measure(|| {
        let mut ours = Ours::new(local);
        for key in 0..ENTRIES {
            ours.hit(key);
        }
        kept = Some(ours);
    });
    drop(kept);
    used.bytes_current as f64 / f64::from(ENTRIES) - 8.0
}

fn main() {
    println!(
        "| s | capacity | optimum | LRU | SIEVE | ours LRU | ours TinyLFU | ours fast |\n|---|---|---|---|---|---|---|---|"
    );
    for (s, capacity) in [
        (0.8, 200),
        (0.8, 2_000),
        (1.0, 200),
        (1.0, 2_000),
        (1.2, 200),
        (1.2, 2_000),
    ] {
        let zipf = Zipf::new(s);
        let local = Local::lru(capacity as u64);
        println!(
            "| {s} | {capacity} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} |",
            100.0 * zipf.optimum(capacity),
            hit_rate(
                &zipf,
                Lru {
                    capacity,
                    ..Lru::default()
                }
            ),
            hit_rate(
                &zipf,
                Sieve {
                    capacity,
                    ..Sieve::default()
                }
            ),
            hit_rate(&zipf, Ours::new(local)),
            hit_rate(&zipf, Ours::new(local.eviction(Eviction::TinyLfu))),
            hit_rate(&zipf, Ours::new(local.fast())),
        );
    }
    let room = Local::lru(100_000);
    println!(
        "\nbytes per entry beyond key and value: default {:.0}, fast {:.0}",
        bytes_per_entry(room),
        bytes_per_entry(room.fast())
    );
}
