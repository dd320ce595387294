import type { DockerOptions } from "./docker-options";
import type { Owner } from "./private-files";

/** In the image. */
const imageOwner: Owner = { uid: 65532, gid: 65532 };

/** Pure: whose files volumes have: the process's in the container. */
export function ownerOf({ user }: Pick<DockerOptions, "user">): Owner {
  if (user === undefined) return imageOwner;
  const [uid, gid] = user.split(":").map(Number);
  return { uid, gid };
}

export const ownerText = ({ uid, gid }: Owner) => `${uid}:${gid}`;
