// GitHub's own cache client, as a peer: `save PATH KEY`, `restore PATH KEY [PREFIX…]`. The last line is what it returns.
import * as cache from "@actions/cache";

const [verb, path, key, ...prefixes] = process.argv.slice(2);
if (verb === "save") {
  console.log(await cache.saveCache([path], key));
} else if (verb === "restore") {
  console.log(await cache.restoreCache([path], key, prefixes));
} else {
  throw new Error(`no such verb: ${verb}`);
}
