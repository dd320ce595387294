/** A property as it travels in a protobuf Struct; secrets and references are objects with a signature. */
export type PropertyValue = null | boolean | number | string | PropertyValue[] | { [key: string]: PropertyValue };
export type PropertyMap = { [key: string]: PropertyValue };

/** Key that marks an object as something other than an object. */
export const SIGNATURE = "4dabf18193072939515e22adb298388d";
export const SECRET = "1b47061264138c4ac30d75fd1eb44270";
const RESOURCE_REFERENCE = "5cf8f73096256a8f31e491e813e4eb8e";
/** What stands for a value that is not known before `up`. */
export const UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";

export function isObject(value: PropertyValue | undefined): value is PropertyMap {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function isSecret(value: PropertyValue | undefined): value is PropertyMap {
  return isObject(value) && value[SIGNATURE] === SECRET;
}

export function makeSecret(value: PropertyValue): PropertyMap {
  return isSecret(value) ? value : { [SIGNATURE]: SECRET, value };
}

/** Rebuilds a value bottom-up, with `visit` called on each object that carries a signature. */
export function mapSigned(value: PropertyValue, visit: (signed: PropertyMap) => PropertyValue): PropertyValue {
  if (Array.isArray(value)) return value.map((element) => mapSigned(element, visit));
  if (!isObject(value)) return value;
  if (typeof value[SIGNATURE] === "string") return visit(value);
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, mapSigned(member, visit)]));
}

/** Values as a provider that accepts neither secrets nor resource references gets them. */
export function plainValue(value: PropertyValue): PropertyValue {
  return mapSigned(value, (signed) => {
    if (signed[SIGNATURE] === SECRET) return plainValue(signed.value);
    if (signed[SIGNATURE] !== RESOURCE_REFERENCE) return signed;
    return signed.id === undefined ? signed.urn : signed.id === "" ? UNKNOWN : signed.id;
  });
}

export function plainProperties(properties: PropertyMap): PropertyMap {
  return Object.fromEntries(Object.entries(properties).map(([key, value]) => [key, plainValue(value)]));
}

export function containsSecret(value: PropertyValue): boolean {
  if (Array.isArray(value)) return value.some((element) => containsSecret(element));
  if (!isObject(value)) return false;
  const members: PropertyValue[] = Object.values(value);
  return isSecret(value) || members.some((member) => containsSecret(member));
}

/** Marks properties of `outputs` secret where the property of the same name in `inputs` holds a secret. */
export function carrySecrets(outputs: PropertyMap, inputs: PropertyMap): PropertyMap {
  const marked: PropertyMap = { ...outputs };
  for (const [key, input] of Object.entries(inputs)) {
    const output = marked[key];
    if (output === undefined || isSecret(output)) continue;
    if (isObject(output) && isObject(input) && !isSecret(input)) marked[key] = carrySecrets(output, input);
    else if (containsSecret(input)) marked[key] = makeSecret(output);
  }
  return marked;
}

export function markSecret(properties: PropertyMap, keys: readonly string[]): PropertyMap {
  const marked: PropertyMap = { ...properties };
  for (const key of keys) if (marked[key] !== undefined) marked[key] = makeSecret(marked[key]);
  return marked;
}

/** Equality of plain values; the order of an object's keys does not count. */
export function samePlain(left: PropertyValue | undefined, right: PropertyValue | undefined): boolean {
  if (left === right) return true;
  if (Array.isArray(left) && Array.isArray(right)) {
    return left.length === right.length && left.every((element, index) => samePlain(element, right[index]));
  }
  if (!isObject(left) || !isObject(right)) return false;
  const keys = Object.keys(left);
  return keys.length === Object.keys(right).length && keys.every((key) => samePlain(left[key], right[key]));
}

/** Names of the top-level properties that differ, secret marks aside. */
export function changedKeys(olds: PropertyMap, news: PropertyMap): string[] {
  const left = plainProperties(olds);
  const right = plainProperties(news);
  const keys = [...new Set([...Object.keys(left), ...Object.keys(right)])];
  return keys.filter((key) => !samePlain(left[key], right[key])).sort();
}

/** Properties as they may be shown: secrets hidden (unless asked for), unknowns named. */
export function shownProperties(properties: PropertyMap, showSecrets: boolean): Record<string, unknown> {
  const show = (value: PropertyValue): unknown => {
    if (value === UNKNOWN) return "[unknown]";
    if (Array.isArray(value)) return value.map(show);
    if (isSecret(value)) return showSecrets ? show(value.value) : "[secret]";
    if (!isObject(value)) return value;
    return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, show(member)]));
  };
  return show(properties) as Record<string, unknown>;
}

/** Puts the old value of each ignored property (a dotted path) back into the new inputs. */
export function ignoreChanges(olds: PropertyMap, news: PropertyMap, paths: readonly string[]): PropertyMap {
  let result = news;
  for (const path of paths) {
    const [head, ...rest] = path.split(".");
    const old = olds[head];
    const current = result[head];
    if (rest.length > 0) {
      if (!isObject(old) || !isObject(current)) continue;
      result = { ...result, [head]: ignoreChanges(old, current, [rest.join(".")]) };
    } else if (old !== undefined) {
      result = { ...result, [head]: old };
    } else {
      const { [head]: _ignored, ...kept } = result;
      result = kept;
    }
  }
  return result;
}
