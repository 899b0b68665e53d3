// GitHub's own artifact client, as a peer: `upload NAME FOLDER FILE…`, `download NAME FOLDER`.
import path from "node:path";
import { DefaultArtifactClient } from "@actions/artifact";

const [verb, name, folder, ...files] = process.argv.slice(2);
const client = new DefaultArtifactClient();
if (verb === "upload") {
  const paths = files.map((file) => path.join(folder, file));
  await client.uploadArtifact(name, paths, folder, { compressionLevel: Number(process.env.COMPRESSION ?? 6) });
} else if (verb === "download") {
  const { artifact } = await client.getArtifact(name);
  await client.downloadArtifact(artifact.id, { path: folder });
} else {
  throw new Error(`no such verb: ${verb}`);
}
