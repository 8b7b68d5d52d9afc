"""Trains one model in several TensorFlow processes, each on its share of every batch.

MultiWorkerMirroredStrategy finds the others in TF_CONFIG. Gradients are added up over all
processes, so the loss is the same however many there are.
"""

import numpy as np
import tensorflow as tf

EPOCHS = 3
BATCH = 96


def main() -> None:
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    resolver = strategy.cluster_resolver
    rank, world = resolver.task_id or 0, strategy.num_replicas_in_sync
    random = np.random.default_rng(0)
    points = random.standard_normal((1800, 64))
    inputs = tf.constant(points, tf.float32)
    labels = tf.constant((points @ random.standard_normal((64, 10))).argmax(1), tf.int32)
    with strategy.scope():
        mean = tf.VariableAggregation.MEAN
        weights = tf.Variable(tf.zeros([64, 10]), aggregation=mean)

    @tf.function
    def step(inputs: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(weights)
            errors = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, inputs @ weights)
            loss = tf.reduce_sum(errors) / BATCH
        everywhere = tf.distribute.get_replica_context()
        both = [tape.gradient(loss, weights), loss]
        gradient, loss = everywhere.all_reduce(tf.distribute.ReduceOp.SUM, both)
        weights.assign_sub(0.5 * gradient)
        return loss

    for epoch in range(EPOCHS):
        total = 0.0
        for first in range(0, len(inputs) - BATCH, BATCH):
            mine = slice(first + rank, first + BATCH, world)
            loss = strategy.run(step, args=(inputs[mine], labels[mine]))
            total += float(strategy.experimental_local_results(loss)[0])
        if rank == 0:
            print(f"epoch={epoch} loss={total:.4f} processes={world}", flush=True)


if __name__ == "__main__":
    main()
