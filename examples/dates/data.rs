//! Made-up dates: as people write them, and in ISO form.

use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};

/// A date both ways.
pub struct Pair {
    pub written: String,
    pub iso: String,
}

/// An endless supply from a seed.
pub struct Dates(Xoshiro256PlusPlus);

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

impl Dates {
    pub fn new(seed: u64) -> Self {
        Self(Xoshiro256PlusPlus::seed_from_u64(seed))
    }

    pub fn take(&mut self, count: usize) -> Vec<Pair> {
        (0..count).map(|_| self.date()).collect()
    }

    fn date(&mut self) -> Pair {
        let Self(rng) = self;
        let (year, month) = (rng.random_range(1950..2050), rng.random_range(1..=12_usize));
        let day = rng.random_range(1..=days(year, month));
        let iso = format!("{year}-{month:02}-{day:02}");
        let name = MONTHS[month - 1];
        let short = &name[..3];
        let weekday = WEEKDAYS[rng.random_range(0..7)];
        let end = match day {
            1 | 21 | 31 => "st",
            2 | 22 => "nd",
            3 | 23 => "rd",
            _ => "th",
        };
        let written = match rng.random_range(0..11) {
            0 => format!("{day} {name} {year}"),
            1 => format!("{name} {day}, {year}"),
            2 => format!("{weekday}, {day} {name} {year}"),
            3 => format!("the {day}{end} of {name} {year}"),
            4 => format!("{weekday}, {day}{end} of {name} {year}"),
            5 => format!("{day}.{month}.{year}"),
            6 => format!("{month}/{day}/{year}"),
            7 => format!("{short} {day} {year}"),
            8 => format!("{day:02}.{month:02}.{year}"),
            9 => format!("{day} {short}, {year}"),
            _ => format!("{name} {day}{end}, {year}"),
        };
        Pair { written, iso }
    }
}

fn days(year: usize, month: usize) -> usize {
    match month {
        4 | 6 | 9 | 11 => 30,
        // 2000 is a leap year; 1900 and 2100 are out of range.
        2 if year.is_multiple_of(4) => 29,
        2 => 28,
        _ => 31,
    }
}
