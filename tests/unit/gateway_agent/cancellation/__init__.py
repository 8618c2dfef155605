"""Every long-lived task of the product is cancelled at every place where it waits."""
