/**
 * `_op` of a staged change; 3 deletes a row whose key changed: the next ordinal is the same row under its new key; 4 is no
 * change: the whole row as it was before the update that has the next ordinal.
 */
export const changeOp = { insert: 0, update: 1, delete: 2, deleteOldKey: 3, beforeImage: 4 } as const;
