//! How likely vulnerabilities are attacked: FIRST's EPSS, as the daily CSV (packed by gzip or not) or as
//! the answer of its API in JSON.

use super::error::FeedError;
use super::meta::CatalogueMeta;
use countersign_core::Timestamp;
use serde::Deserialize;
use std::collections::HashMap;
use std::io::Read as _;

/// Largest list in bytes, unpacked: stops a file that is there to exhaust memory (the real one has
/// 10 MiB).
const MAX_BYTES: usize = 64 << 20;
/// Longest id of a vulnerability, in bytes.
const MAX_ID: usize = 32;

/// Likelihoods in permille, by CVE.
#[derive(Debug, Default)]
pub(super) struct Likelihoods(HashMap<String, u16>);

#[derive(Deserialize)]
struct Document {
    data: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    cve: String,
    epss: String,
    #[serde(default)]
    date: Option<String>,
}

impl Likelihoods {
    /// Reads a list and adds what it holds; later lists win.
    pub(super) fn add(&mut self, bytes: &[u8]) -> Result<CatalogueMeta, FeedError> {
        let unpacked = unpack(bytes)?;
        let text = std::str::from_utf8(&unpacked).map_err(|e| bad(e.to_string()))?;
        if text.trim_start().starts_with('{') { self.json(text) } else { self.csv(text) }
    }

    fn json(&mut self, text: &str) -> Result<CatalogueMeta, FeedError> {
        let document: Document = serde_json::from_str(text).map_err(|e| bad(e.to_string()))?;
        let day = document.data.iter().filter_map(|r| r.date.as_deref()).max().map(str::to_owned);
        let entries = document.data.len() as u64;
        for row in document.data {
            self.put(&row.cve, &row.epss)?;
        }
        let released = day.as_ref().and_then(|d| Timestamp::parse(&format!("{d}T00:00:00Z")));
        Ok(CatalogueMeta { version: day.unwrap_or_default(), released, entries })
    }

    fn csv(&mut self, text: &str) -> Result<CatalogueMeta, FeedError> {
        let mut meta = CatalogueMeta::default();
        let mut lines = text.lines().map(str::trim).filter(|l| !l.is_empty()).peekable();
        while let Some(remark) = lines.next_if(|l| l.starts_with('#')) {
            for (name, value) in remark.trim_start_matches('#').split(',').filter_map(pair) {
                match name {
                    "model_version" => meta.version = printable(value),
                    "score_date" => meta.released = Timestamp::parse(value),
                    _ => {}
                }
            }
        }
        let head: Vec<&str> = lines.next().unwrap_or("").split(',').map(str::trim).collect();
        let column = |name: &str| {
            let at = head.iter().position(|h| *h == name);
            at.ok_or_else(|| bad(format!("it has no column `{name}`")))
        };
        let (cve, epss) = (column("cve")?, column("epss")?);
        for line in lines {
            let cells: Vec<&str> = line.split(',').map(str::trim).collect();
            let (Some(cve), Some(epss)) = (cells.get(cve), cells.get(epss)) else {
                return Err(bad(format!("a line is cut short after {} lines", meta.entries)));
            };
            self.put(cve, epss)?;
            meta.entries += 1;
        }
        Ok(meta)
    }

    fn put(&mut self, cve: &str, epss: &str) -> Result<(), FeedError> {
        let likelihood = epss.parse::<f64>().ok().filter(|l| (0.0..=1.0).contains(l));
        let sound = cve.len() <= MAX_ID && cve.bytes().all(|b| b.is_ascii_graphic());
        let (Some(likelihood), true) = (likelihood, sound) else {
            return Err(bad(format!("after {} entries one is none", self.0.len())));
        };
        // The range was checked: the cast keeps the value.
        self.0.insert(cve.to_owned(), (likelihood * 1000.0).round() as u16);
        Ok(())
    }

    /// The highest likelihood of `ids`.
    pub(super) fn find<'a>(&self, ids: impl Iterator<Item = &'a String>) -> Option<u16> {
        ids.filter_map(|id| self.0.get(id)).copied().max()
    }
}

fn bad(because: String) -> FeedError {
    FeedError::Likelihoods { because }
}

fn pair(text: &str) -> Option<(&str, &str)> {
    text.split_once(':').map(|(name, value)| (name.trim(), value.trim()))
}

fn printable(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_graphic()).take(64).collect()
}

fn unpack(bytes: &[u8]) -> Result<Vec<u8>, FeedError> {
    let mut out = Vec::new();
    let limit = MAX_BYTES as u64 + 1;
    let read = if bytes.starts_with(&[0x1f, 0x8b]) {
        flate2::read::MultiGzDecoder::new(bytes).take(limit).read_to_end(&mut out)
    } else {
        bytes.take(limit).read_to_end(&mut out)
    };
    read.map_err(|e| bad(e.to_string()))?;
    if out.len() > MAX_BYTES {
        return Err(FeedError::Limit { what: "list of likelihoods", limit: MAX_BYTES as u64 });
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    const CSV: &str = "#model_version:v2025.03.14,score_date:2026-05-18T00:00:00Z\n\
        cve,epss,percentile\nCVE-2021-44228,0.94358,0.99957\nCVE-1999-0001,0.0004,0.1\n";

    #[test]
    fn the_csv_is_read_packed_or_not() {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(CSV.as_bytes()).unwrap();
        for bytes in [CSV.as_bytes(), &packed.finish().unwrap()] {
            let mut l = Likelihoods::default();
            let meta = l.add(bytes).unwrap();
            assert_eq!((meta.entries, meta.version.as_str()), (2, "v2025.03.14"));
            assert_eq!(meta.released, Timestamp::parse("2026-05-18T00:00:00Z"));
            let find = |ids: &[&str]| {
                let ids: Vec<String> = ids.iter().map(|i| (*i).to_owned()).collect();
                l.find(ids.iter())
            };
            assert_eq!(find(&["CVE-1999-0001", "CVE-2021-44228"]), Some(944));
            assert_eq!(find(&["CVE-1999-0001"]), Some(0));
            assert_eq!(find(&["CVE-1"]), None);
        }
    }

    #[test]
    fn the_answer_of_the_api_is_read() {
        let mut l = Likelihoods::default();
        let meta = l
            .add(
                br#"{"status":"OK","total":1,"data":[{"cve":"CVE-2021-40438","epss":"0.972240000",
                "percentile":"1.000000000","date":"2022-02-28"}]}"#,
            )
            .unwrap();
        assert_eq!((meta.entries, meta.version.as_str()), (1, "2022-02-28"));
        assert_eq!(l.find(["CVE-2021-40438".to_owned()].iter()), Some(972));
    }

    #[test]
    fn what_is_no_list_is_an_error() {
        let bomb = {
            let mut z = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            z.write_all(&vec![b'\n'; MAX_BYTES + 2]).unwrap();
            z.finish().unwrap()
        };
        assert!(matches!(Likelihoods::default().add(&bomb), Err(FeedError::Limit { .. })));
        for text in [
            "",
            "{}",
            "cve,percentile\nCVE-1,0.1\n",
            "cve,epss\nCVE-1\n",
            "cve,epss\nCVE-1,1.5\n",
            "cve,epss\nCVE-1,NaN\n",
            "cve,epss\nCVE 1,0.5\n",
            "\u{1f}\u{8b}",
        ] {
            assert!(Likelihoods::default().add(text.as_bytes()).is_err(), "{text}");
        }
        assert!(Likelihoods::default().add(&[0x1f, 0x8b, 8]).is_err());
    }
}
