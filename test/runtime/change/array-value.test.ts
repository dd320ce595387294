// Contract: an array's text form becomes the list that it says, whatever is quoted in it; what isn't one is refused with
// its place; what no list can hold is NULL and counted, or refused, and leaves nothing behind in the lists of other rows
// (invariant 4).
import { describe, expect, it } from "vitest";
import { arrayType } from "../../../runtime/change/array-value";
import { ColumnBuffer } from "../../../runtime/change/column-buffer";
import { typeOf } from "../../../runtime/change/types";
import { UnrepresentableValue } from "../../../runtime/change/unrepresentable-value";
import { MalformedBytes } from "../../../runtime/postgres/message-bytes";

const integer = typeOf(23, -1);
const text = typeOf(25, -1);
const numeric = typeOf(1700, ((10 << 16) | 2) + 4);

function listOf(element: typeof text, is: "null" | "refused" = "null", boundsMatter = false): ColumnBuffer {
  return new ColumnBuffer("list", 8, is, { element: element.storage, boundsMatter });
}

const read = (list: ColumnBuffer, row: number, value: string, element = text, delimiter = ",") => {
  // Something of the message stands before and behind a value.
  const source = Buffer.from(`{"x${value}]}",`);
  arrayType(element, delimiter).readText(list, row, source, 3, source.length - 4);
};

function valuesOf(list: ColumnBuffer, row: number): (string | number | null)[] | null {
  if ((list.validity[row >> 3] & (1 << (row & 7))) === 0) return null;
  const { elements } = list as { elements: ColumnBuffer };
  const values: (string | number | null)[] = [];
  for (let at = row === 0 ? 0 : list.ends[row - 1]; at < list.ends[row]; at++) {
    const isPresent = (elements.validity[at >> 3] & (1 << (at & 7))) !== 0;
    const start = at === 0 ? 0 : elements.ends[at - 1];
    if (!isPresent) values.push(null);
    // Four bytes in front of a text are its length.
    else
      values.push(elements.width > 0 ? elements.i32[at] : elements.heap.toString("utf8", start + 4, elements.ends[at]));
  }
  return values;
}

describe("an array's text form", () => {
  it.each<[string, (string | null)[]]>([
    ["{}", []],
    ["{a}", ["a"]],
    ["{NULL}", [null]],
    [`{"NULL",NULL,"null",nul,NULLS}`, ["NULL", null, "null", "nul", "NULLS"]],
    [`{"",x,""}`, ["", "x", ""]],
    [`{"a,b","{c}"," d ",e f}`, ["a,b", "{c}", " d ", "e f"]],
    [`{"q\\"uote","back\\\\slash","\\\\\\"","\\\\"}`, [`q"uote`, "back\\slash", `\\"`, "\\"]],
    ["{ünïcödé,🎉,日本}", ["ünïcödé", "🎉", "日本"]],
    [`{"line\nbreak","tab\t"}`, ["line\nbreak", "tab\t"]],
    ["[2:3]={a,NULL}", ["a", null]],
    ["[-3:-3]={a}", ["a"]],
    ["[0:0]={}", []],
    ["{[1:2]=,]}", ["[1:2]=", "]"]],
    [`{"${"x\\\\".repeat(9_000)}"}`, ["x\\".repeat(9_000)]],
  ])("%j", (value, wanted) => {
    const list = listOf(text);
    read(list, 0, "{before}");
    read(list, 1, value);
    read(list, 2, "{behind}");
    expect([valuesOf(list, 0), valuesOf(list, 1), valuesOf(list, 2)]).toEqual([["before"], wanted, ["behind"]]);
    expect(list.unrepresentableValues).toBe(0);
  });

  it("has another delimiter where its type has", () => {
    const list = listOf(text);
    read(list, 0, "{(3,4),(1,2);NULL;(0,0),(0,0)}", text, ";");
    expect(valuesOf(list, 0)).toEqual(["(3,4),(1,2)", null, "(0,0),(0,0)"]);
  });

  it.each(["{{1,2},{3,4}}", "[0:1][1:1]={{1},{2}}", "{{{NULL}}}", "[1:1][-2:-1]={{1,2}}"])(
    "of more dimensions is no list: %s",
    (value) => {
      const list = listOf(integer);
      read(list, 0, "{7}", integer);
      read(list, 1, value, integer);
      read(list, 2, "{8,9}", integer);
      expect([valuesOf(list, 0), valuesOf(list, 1), valuesOf(list, 2)]).toEqual([[7], null, [8, 9]]);
      expect([list.unrepresentableValues, list.elementCount]).toEqual([1, 3]);
      expect(() => read(listOf(integer, "refused"), 0, value, integer)).toThrow(UnrepresentableValue);
    },
  );

  it("loses its bounds, but not in a key, where they tell values apart", () => {
    expect(() => read(listOf(text, "refused"), 0, "[2:2]={a}")).not.toThrow();
    expect(() => read(listOf(text, "refused", true), 0, "[2:2]={a}")).toThrow(UnrepresentableValue);
    expect(() => read(listOf(text, "refused", true), 0, "{a}")).not.toThrow();
  });

  it("has NULL, counted, for an element that isn't representable; refused, its row can be forgotten", () => {
    const list = listOf(numeric);
    read(list, 0, "{1.50,NaN,NULL,Infinity}", numeric);
    expect([valuesOf(list, 0)?.map((value) => value === null), list.unrepresentableValues]).toEqual([
      [false, true, true, true],
      2,
    ]);
    const strict = listOf(numeric, "refused");
    read(strict, 0, "{1}", numeric);
    expect(() => read(strict, 1, "{2,3,NaN}", numeric)).toThrow(UnrepresentableValue);
    strict.truncate(1);
    read(strict, 1, "{NULL,4}", numeric);
    expect([strict.elementCount, strict.ends[1], valuesOf(strict, 1)?.[0]]).toEqual([3, 3, null]);
  });

  it.each([
    ..."|{|}|a|{a|a}|{a,}|{,a}|{a,,b}|{a}b}|{a{b}|{a\\b}|[1:2={a}|[1:]={a}|[:1]={a}|[1:1]{a}|[1:1]=|[1:1]|[a:b]={a}".split(
      "|",
    ),
    `{"a}`,
    `{"a"b}`,
    `{a"b"}`,
    `{"a\\"}`,
    `{"a"`,
  ])("is refused where it is none: %j", (value) => {
    expect(() => read(listOf(text), 0, value)).toThrow(MalformedBytes);
  });
});

/** array_send of one dimension. */
function binaryOf(values: (number | null)[], { lower = 1, count = values.length, dimensions = 1 } = {}): Buffer {
  const parts = [dimensions, 0, 23, ...Array.from({ length: dimensions }, () => [count, lower]).flat()];
  for (const value of values) parts.push(...(value === null ? [-1] : [4, value]));
  const bytes = Buffer.alloc(parts.length * 4);
  for (const [at, part] of parts.entries()) bytes.writeInt32BE(part, at * 4);
  return bytes;
}

describe("an array's binary form", () => {
  const readBinary = (list: ColumnBuffer, row: number, bytes: Buffer) => {
    const source = Buffer.concat([Buffer.from([1, 2, 3]), bytes, Buffer.alloc(40, 0xff)]);
    arrayType(integer).readBinary?.(list, row, source, 3, 3 + bytes.length);
  };

  it("is the same list", () => {
    const list = listOf(integer);
    const long = Array.from({ length: 5_000 }, (_, at) => (at % 3 === 0 ? null : at));
    const values = [[1, null, -3], [], [null], long];
    for (const [row, value] of values.entries()) readBinary(list, row, binaryOf(value));
    readBinary(list, 4, binaryOf([9], { lower: -7 }));
    readBinary(list, 5, binaryOf([], { dimensions: 0 }));
    readBinary(list, 6, binaryOf([1, 2, 3, 4], { dimensions: 2, count: 2 }));
    expect([0, 1, 2, 3, 4, 5, 6].map((row) => valuesOf(list, row))).toEqual([...values, [9], [], null]);
    expect(list.unrepresentableValues).toBe(1);
    expect(() => readBinary(listOf(integer, "refused", true), 0, binaryOf([9], { lower: 0 }))).toThrow(
      UnrepresentableValue,
    );
  });

  it("is refused when it is cut off, too long, or of another element", () => {
    const whole = binaryOf([1, null, 2]);
    for (let length = 0; length < whole.length; length++) {
      expect(() => readBinary(listOf(integer), 0, whole.subarray(0, length))).toThrow(MalformedBytes);
    }
    for (const bytes of [
      Buffer.concat([whole, Buffer.alloc(1)]),
      binaryOf([1], { count: 2 }),
      binaryOf([1], { count: -1 }),
      binaryOf([1], { dimensions: 7 }),
      Buffer.concat([binaryOf([], { count: 1 }), Buffer.from([0, 0, 0, 2, 1, 1])]),
    ])
      expect(() => readBinary(listOf(integer), 0, bytes)).toThrow(MalformedBytes);
  });
});
